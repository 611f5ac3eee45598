//! The types of a chunk, as its metadata event describes them, and reading values by them.
//!
//! ```text
//! size type=0 start duration id | text count, texts | element
//! element := name attribute-count (key value)* child-count element*      all of these are indexes of texts or counts
//! root > metadata > class{id,name} > field{name,class,constantPool,dimension}      others (annotation, …) are skipped
//! ```

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::budget::Budget;
use crate::cursor::{Cursor, Fault, Text};

/// Deepest nesting of elements (four are used) and of values in values (three are used).
const MAX_DEPTH: u32 = 16;

/// Index of a class in [`Metadata`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassIndex(pub(crate) u32);

/// How a value of a class is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Byte,
    Short,
    Int,
    Long,
    /// So many bytes, whatever the encoding of integers.
    Raw(usize),
    Text,
    /// Its fields one after the other.
    Fields,
}

impl Layout {
    fn of(class_name: &str) -> Self {
        match class_name {
            "boolean" | "byte" => Self::Byte,
            "char" | "short" => Self::Short,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Raw(4),
            "double" => Self::Raw(8),
            "java.lang.String" => Self::Text,
            _ => Self::Fields,
        }
    }
}

/// A field of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    name: u32,
    class_id: u64,
    /// `None` where the metadata lack the class.
    pub(crate) class: Option<ClassIndex>,
    /// Whether the value is a key in the constants of `class`.
    pub(crate) is_constant: bool,
    /// Whether there are a count and then so many values.
    pub(crate) is_array: bool,
}

#[derive(Clone, Debug)]
struct Class {
    id: u64,
    name: u32,
    layout: Layout,
    fields: Vec<Field>,
}

/// Value of a field that a [`Plan`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The class has no such field.
    Absent,
    /// An integer or the key of a constant.
    Number(u64),
    /// Anything else starts here.
    At(usize),
}

impl Value {
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Absent | Self::At(_) => None,
        }
    }
}

/// Which fields of a class to pick, and what to skip on the way.
#[derive(Clone, Debug)]
pub(crate) struct Plan<const N: usize> {
    /// The picked fields, by slot.
    pub(crate) picked: [Option<Field>; N],
    /// Fields in order with the slots of the picked ones.
    fields: Vec<(Field, Option<usize>)>,
    /// Number of fields up to the last picked one.
    needed: usize,
}

/// The types of one chunk.
#[derive(Debug, Default)]
pub(crate) struct Metadata<'a> {
    texts: Vec<Cow<'a, str>>,
    classes: Vec<Class>,
    by_id: HashMap<u64, ClassIndex>,
}

impl<'a> Metadata<'a> {
    /// Reads the metadata event that `cursor` stands at.
    pub(crate) fn parse(cursor: &mut Cursor<'a>, budget: &Budget) -> Result<Self, Fault> {
        let (_size, event_type) = (cursor.int()?, cursor.long()?);
        if event_type != 0 {
            return Err(cursor.damaged("metadata are not where the header says"));
        }
        let (_start, _duration, _id) = (cursor.long()?, cursor.long()?, cursor.long()?);
        let mut metadata = Self { texts: texts(cursor, budget)?, ..Self::default() };
        metadata.element(cursor, None, MAX_DEPTH, budget)?;
        metadata.link();
        Ok(metadata)
    }

    pub(crate) fn class(&self, id: u64) -> Option<ClassIndex> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn class_count(&self) -> usize {
        self.classes.len()
    }

    pub(crate) fn class_name(&self, class: ClassIndex) -> &str {
        &self.texts[self.get(class).name as usize]
    }

    pub(crate) fn class_id(&self, class: ClassIndex) -> u64 {
        self.get(class).id
    }

    pub(crate) fn class_indexes(&self) -> impl Iterator<Item = ClassIndex> + use<> {
        (0..self.classes.len() as u32).map(ClassIndex)
    }

    /// Whether values of `class` are texts.
    pub(crate) fn is_text(&self, class: ClassIndex) -> bool {
        self.get(class).layout == Layout::Text
    }

    /// Picks the fields of `class` with these names; of several with one name the first.
    pub(crate) fn plan<const N: usize>(&self, class: ClassIndex, names: [&str; N]) -> Plan<N> {
        let mut picked = [None; N];
        let mut fields = Vec::with_capacity(self.get(class).fields.len());
        let mut needed = 0;
        for &field in &self.get(class).fields {
            let name = &*self.texts[field.name as usize];
            let slot = names.iter().position(|&wanted| wanted == name).filter(|&slot| picked[slot].is_none());
            fields.push((field, slot));
            if let Some(slot) = slot {
                picked[slot] = Some(field);
                needed = fields.len();
            }
        }
        Plan { picked, fields, needed }
    }

    /// Reads the picked fields of a value that starts at `cursor`, and goes no further than they do.
    pub(crate) fn pick<const N: usize>(&self, plan: &Plan<N>, cursor: &mut Cursor<'_>) -> Result<[Value; N], Fault> {
        self.run(&plan.fields[..plan.needed], cursor).map(|(values, _)| values)
    }

    /// Reads the picked fields of a value and goes to its end.
    pub(crate) fn read<const N: usize>(&self, plan: &Plan<N>, cursor: &mut Cursor<'_>) -> Result<[Value; N], Fault> {
        let (values, unread) = self.run(&plan.fields, cursor)?;
        unread.map_or(Ok(()), |field| self.skip_field(field, cursor, MAX_DEPTH))?;
        Ok(values)
    }

    /// Skips a value of `class`.
    pub(crate) fn skip(&self, class: ClassIndex, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.skip_value(class, cursor, MAX_DEPTH)
    }

    fn get(&self, class: ClassIndex) -> &Class {
        &self.classes[class.0 as usize]
    }

    /// Goes through `fields`; the last one is left unread, and returned, where it is no picked number.
    fn run<'f, const N: usize>(
        &self,
        fields: &'f [(Field, Option<usize>)],
        cursor: &mut Cursor<'_>,
    ) -> Result<([Value; N], Option<&'f Field>), Fault> {
        let mut values = [Value::Absent; N];
        let mut unread: Option<&Field> = None;
        for (field, slot) in fields {
            if let Some(previous) = unread.take() {
                self.skip_field(previous, cursor, MAX_DEPTH)?;
            }
            let number = if slot.is_some() { self.number(field, cursor)? } else { None };
            if let Some(slot) = slot {
                values[*slot] = number.map_or(Value::At(cursor.position()), Value::Number);
            }
            if number.is_none() {
                unread = Some(field);
            }
        }
        Ok((values, unread))
    }

    /// Reads a field that is an integer or the key of a constant; `None`, and nothing read, where it is not.
    fn number(&self, field: &Field, cursor: &mut Cursor<'_>) -> Result<Option<u64>, Fault> {
        let layout = field.class.map(|class| self.get(class).layout);
        match layout {
            _ if field.is_array => return Ok(None),
            _ if field.is_constant => cursor.long(),
            Some(Layout::Byte) => cursor.byte().map(u64::from),
            Some(Layout::Short) => cursor.short(),
            Some(Layout::Int) => cursor.int(),
            Some(Layout::Long) => cursor.long(),
            Some(Layout::Raw(_) | Layout::Text | Layout::Fields) | None => return Ok(None),
        }
        .map(Some)
    }

    fn skip_field(&self, field: &Field, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Fault> {
        let count = if field.is_array { cursor.count()? } else { 1 };
        for _ in 0..count {
            cursor.step()?;
            match field.class {
                _ if field.is_constant => {
                    cursor.long()?;
                }
                Some(class) => self.skip_value(class, cursor, depth)?,
                None => return Err(cursor.damaged("field of a type that the metadata lack")),
            }
        }
        Ok(())
    }

    fn skip_value(&self, class: ClassIndex, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Fault> {
        let class = self.get(class);
        match class.layout {
            Layout::Byte => cursor.byte().map(drop),
            Layout::Short => cursor.short().map(drop),
            Layout::Int => cursor.int().map(drop),
            Layout::Long => cursor.long().map(drop),
            Layout::Raw(bytes) => cursor.advance(bytes).map(drop),
            Layout::Text => cursor.skip_text(),
            Layout::Fields if depth == 0 => Err(cursor.damaged("values are nested too deeply")),
            Layout::Fields => class.fields.iter().try_for_each(|field| self.skip_field(field, cursor, depth - 1)),
        }
    }

    /// Reads an element and what is in it; `class` is the one whose fields it may hold.
    fn element(
        &mut self,
        cursor: &mut Cursor<'a>,
        class: Option<ClassIndex>,
        depth: u32,
        budget: &Budget,
    ) -> Result<(), Fault> {
        if depth == 0 {
            return Err(cursor.damaged("metadata are nested too deeply"));
        }
        let name = self.text(cursor)?;
        let attributes = self.attributes(cursor)?;
        let inner = match (&*self.texts[name as usize], class) {
            ("class", _) => {
                budget.chunk_memory.take(size_of::<Class>() + size_of::<(u64, ClassIndex)>() * 2)?;
                let index = ClassIndex(self.classes.len() as u32);
                let layout = Layout::of(&self.texts[attributes.name as usize]);
                self.classes.push(Class { id: attributes.id, name: attributes.name, layout, fields: Vec::new() });
                Some(index)
            }
            ("field", Some(class)) => {
                budget.chunk_memory.take(size_of::<Field>())?;
                self.classes[class.0 as usize].fields.push(attributes.into_field());
                None
            }
            _ => None,
        };
        for _ in 0..cursor.count()? {
            self.element(cursor, inner, depth - 1, budget)?;
        }
        Ok(())
    }

    fn attributes(&self, cursor: &mut Cursor<'a>) -> Result<Attributes, Fault> {
        let mut attributes = Attributes::default();
        for _ in 0..cursor.count()? {
            let (key, value_index) = (self.text(cursor)?, self.text(cursor)?);
            let value = &*self.texts[value_index as usize];
            let number = || value.parse::<u64>().map_err(|_| cursor.damaged("type id is no number"));
            match &*self.texts[key as usize] {
                "id" => attributes.id = number()?,
                "class" => attributes.class_id = number()?,
                "name" => attributes.name = value_index,
                "constantPool" => attributes.is_constant = value == "true",
                "dimension" => attributes.is_array = value != "0",
                _ => {}
            }
        }
        Ok(attributes)
    }

    fn text(&self, cursor: &mut Cursor<'a>) -> Result<u32, Fault> {
        let index = cursor.int()?;
        if index >= self.texts.len() as u64 {
            return Err(cursor.damaged("metadata refer to a text that does not exist"));
        }
        Ok(index as u32)
    }

    /// Turns class ids into indexes.
    fn link(&mut self) {
        self.by_id = self.class_indexes().map(|index| (self.class_id(index), index)).collect();
        for field in self.classes.iter_mut().flat_map(|class| &mut class.fields) {
            field.class = self.by_id.get(&field.class_id).copied();
        }
    }
}

/// Attributes of a class or field; `name` 0 stands for whichever text comes first where there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    id: u64,
    class_id: u64,
    name: u32,
    is_constant: bool,
    is_array: bool,
}

impl Attributes {
    fn into_field(self) -> Field {
        let Self { class_id, name, is_constant, is_array, id: _ } = self;
        Field { name, class_id, class: None, is_constant, is_array }
    }
}

fn texts<'a>(cursor: &mut Cursor<'a>, budget: &Budget) -> Result<Vec<Cow<'a, str>>, Fault> {
    let count = cursor.count()?;
    budget.chunk_memory.take(count.saturating_mul(size_of::<Cow<'_, str>>()))?;
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        texts.push(match cursor.text()? {
            Text::Here(text) => text,
            Text::Null => Cow::Borrowed(""),
            Text::Constant(_) => return Err(cursor.damaged("metadata text refers to a constant")),
        });
    }
    Ok(texts)
}
