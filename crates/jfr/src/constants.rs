//! Constants that events refer to: stacks and texts, decoded when first asked for.
//!
//! References are followed along fixed paths (stack, frame, method, class, symbol, text), so that cycles cannot matter.

use std::borrow::Cow;

use argand_model::{LocationId, StringId};
use hashbrown::HashMap;

use crate::Loss;
use crate::cursor::{Cursor, Fault, Text};
use crate::metadata::{ClassIndex, Field, Metadata, Plan, Value};
use crate::names::normalise;
use crate::pools::Pool;
use crate::profiles::{Builder, StackIndex};

const STACK_TRACE: &str = "jdk.types.StackTrace";
const METHOD: &str = "jdk.types.Method";
const TEXT: &str = "java.lang.String";

/// Most references from a constant to its text: class, symbol, text, and one to spare.
const MAX_HOPS: u32 = 4;

/// Name of a frame whose method is missing.
const UNKNOWN_METHOD: &str = "[unknown]";

/// Whether constants of a class may be asked for.
pub(crate) fn is_wanted(class_name: &str) -> bool {
    matches!(class_name, STACK_TRACE | METHOD | TEXT) || text_fields(class_name).is_some()
}

/// Fields that hold the text of a constant, in order of preference.
fn text_fields(class_name: &str) -> Option<[&'static str; 2]> {
    match class_name {
        "jdk.types.Symbol" => Some(["string", ""]),
        "java.lang.Class" | "jdk.types.ThreadState" => Some(["name", ""]),
        "java.lang.Thread" => Some(["javaName", "osName"]),
        _ => None,
    }
}

/// Constants of a chunk as texts: symbols, class names, thread states, thread names.
pub(crate) struct Texts<'a> {
    metadata: &'a Metadata<'a>,
    pools: &'a [Pool],
    cursor: Cursor<'a>,
    plans: HashMap<u32, Plan<2>>,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(metadata: &'a Metadata<'a>, pools: &'a [Pool], cursor: Cursor<'a>) -> Self {
        let plan = |class| Some((class, text_fields(metadata.class_name(class))?));
        let plans = metadata.class_indexes().filter_map(plan);
        let plans = plans.map(|(class, fields)| (class.0, metadata.plan(class, fields))).collect();
        Self { metadata, pools, cursor, plans }
    }

    /// The text that the value of `field` stands for; `None` where a constant is missing.
    pub(crate) fn of(&self, field: Option<Field>, value: Value) -> Result<Option<Cow<'a, str>>, Fault> {
        self.of_field(field, value, MAX_HOPS)
    }

    fn of_field(&self, field: Option<Field>, value: Value, hops: u32) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some((class, field)) = field.and_then(|field| Some((field.class?, field))) else {
            return Ok(None);
        };
        match value {
            Value::Number(key) if field.is_constant => self.of_constant(class, key, hops),
            Value::At(position) if self.metadata.is_text(class) && !field.is_array => {
                self.at(class, &mut self.cursor.at(position), hops)
            }
            _ => Ok(None),
        }
    }

    fn of_constant(&self, class: ClassIndex, key: u64, hops: u32) -> Result<Option<Cow<'a, str>>, Fault> {
        let pool = &self.pools[class.0 as usize];
        let Some(hops) = hops.checked_sub(1) else {
            return Ok(None);
        };
        let Some(index) = pool.find(key) else {
            return Ok(None);
        };
        let mut cursor = self.cursor.at(pool.position(index));
        if self.metadata.is_text(class) {
            return self.at(class, &mut cursor, hops);
        }
        let Some(plan) = self.plans.get(&class.0) else {
            return Ok(None);
        };
        let mut found = None;
        for (field, value) in plan.picked.into_iter().zip(self.metadata.pick(plan, &mut cursor)?) {
            match self.of_field(field, value, hops)? {
                Some(text) if !text.is_empty() => return Ok(Some(text)),
                empty => found = found.or(empty),
            }
        }
        Ok(found)
    }

    fn at(&self, class: ClassIndex, cursor: &mut Cursor<'a>, hops: u32) -> Result<Option<Cow<'a, str>>, Fault> {
        match cursor.text()? {
            Text::Null => Ok(Some(Cow::Borrowed(""))),
            Text::Here(text) => Ok(Some(text)),
            Text::Constant(key) => self.of_constant(class, key, hops),
        }
    }
}

/// Stacks of a chunk, each built once.
pub(crate) struct Stacks {
    class: ClassIndex,
    stack: Plan<1>,
    frame: Plan<2>,
    method_class: ClassIndex,
    method: Plan<2>,
    /// What became of each constant; the inner `None` stands for a damaged stack.
    stacks: Vec<Option<Option<StackIndex>>>,
    functions: Vec<Option<StringId>>,
    /// Locations of the stack that is being read.
    locations: Vec<LocationId>,
}

impl Stacks {
    /// `None` where the metadata describe no stacks.
    pub(crate) fn new(metadata: &Metadata<'_>, pools: &[Pool]) -> Option<Self> {
        let class = metadata.class_indexes().find(|&class| metadata.class_name(class) == STACK_TRACE)?;
        let stack = metadata.plan(class, ["frames"]);
        let frames = stack.picked[0].filter(|frames| frames.is_array && !frames.is_constant)?;
        let frame = metadata.plan(frames.class?, ["method", "lineNumber"]);
        let method_class = frame.picked[0].filter(|method| method.is_constant && !method.is_array)?.class?;
        let method = metadata.plan(method_class, ["type", "name"]);
        let stacks = vec![None; pools[class.0 as usize].len()];
        let functions = vec![None; pools[method_class.0 as usize].len()];
        Some(Self { class, stack, frame, method_class, method, stacks, functions, locations: Vec::new() })
    }

    /// The stack with a key in the constants of `field`; `None` where it is missing, empty or damaged.
    pub(crate) fn get(
        &mut self,
        texts: &Texts<'_>,
        field: Field,
        key: u64,
        builder: &mut Builder<'_>,
    ) -> Result<Option<StackIndex>, Fault> {
        let pool = &texts.pools[self.class.0 as usize];
        let Some(index) = pool.find(key).filter(|_| field.class == Some(self.class)) else {
            return Ok(None);
        };
        if let Some(known) = self.stacks[index] {
            return Ok(known);
        }
        let stack = match self.read(texts, pool.position(index), builder) {
            Err(Fault::Damaged { .. }) => {
                builder.losses.add(Loss::Constants);
                None
            }
            stack => stack?,
        };
        self.stacks[index] = Some(stack);
        Ok(stack)
    }

    fn read(
        &mut self,
        texts: &Texts<'_>,
        position: usize,
        builder: &mut Builder<'_>,
    ) -> Result<Option<StackIndex>, Fault> {
        let mut cursor = texts.cursor.at(position);
        let [Value::At(frames)] = texts.metadata.pick(&self.stack, &mut cursor)? else {
            return Ok(None);
        };
        let mut cursor = texts.cursor.at(frames);
        let count = cursor.count()?;
        builder.budget.frames.take(count)?;
        self.locations.clear();
        for _ in 0..count {
            let [method, line] = texts.metadata.read(&self.frame, &mut cursor)?;
            let function = self.function(texts, method.number().unwrap_or(0), builder)?;
            // Writers give -1 for native frames, as 32 or 64 bits.
            let line = u32::try_from(line.number().unwrap_or(0) as i32).unwrap_or(0);
            self.locations.push(builder.location(function, line)?);
        }
        if count == 0 { Ok(None) } else { builder.stack(&self.locations).map(Some) }
    }

    fn function(&mut self, texts: &Texts<'_>, key: u64, builder: &mut Builder<'_>) -> Result<StringId, Fault> {
        let pool = &texts.pools[self.method_class.0 as usize];
        let Some(index) = pool.find(key) else {
            builder.losses.add(Loss::UnknownMethod);
            return builder.name(UNKNOWN_METHOD);
        };
        if let Some(known) = self.functions[index] {
            return Ok(known);
        }
        let [class, name] = texts.metadata.pick(&self.method, &mut texts.cursor.at(pool.position(index)))?;
        let [class_field, name_field] = self.method.picked;
        let class = texts.of(class_field, class)?.unwrap_or_default();
        let name = texts.of(name_field, name)?.unwrap_or_default();
        let function = builder.name(&format!("{}.{name}", normalise(&class)))?;
        self.functions[index] = Some(function);
        Ok(function)
    }
}
