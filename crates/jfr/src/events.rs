//! Events that become samples.

use hashbrown::HashMap;

use crate::Loss;
use crate::constants::{Stacks, Texts};
use crate::cursor::{Cursor, Fault};
use crate::metadata::{ClassIndex, Field, Metadata, Plan, Value};
use crate::profiles::{Builder, Kind, Origin};

/// A type of events that become samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventType {
    ExecutionSample,
    WallClockSample,
    LiveObject,
    /// Has an amount in the field with this name.
    Measured(Kind, &'static str),
    /// Has a duration.
    Lasting(Kind),
}

impl EventType {
    fn of(class_name: &str) -> Option<Self> {
        Some(match class_name {
            "jdk.ExecutionSample" => Self::ExecutionSample,
            "profiler.WallClockSample" => Self::WallClockSample,
            "profiler.LiveObject" => Self::LiveObject,
            "jdk.ObjectAllocationInNewTLAB" => Self::Measured(Kind::AllocInNewTlab, "tlabSize"),
            "jdk.ObjectAllocationOutsideTLAB" => Self::Measured(Kind::AllocOutsideTlab, "allocationSize"),
            "jdk.ObjectAllocationSample" => Self::Measured(Kind::AllocSample, "weight"),
            "profiler.Malloc" => Self::Measured(Kind::Malloc, "size"),
            "jdk.JavaMonitorEnter" => Self::Lasting(Kind::Mutex),
            "jdk.ThreadPark" => Self::Lasting(Kind::Block),
            _ => return None,
        })
    }

    fn amount_field(self) -> &'static str {
        match self {
            Self::ExecutionSample | Self::LiveObject => "",
            Self::WallClockSample => "samples",
            Self::Measured(_, field) => field,
            Self::Lasting(_) => "duration",
        }
    }

    fn thread_field(self) -> &'static str {
        match self {
            Self::ExecutionSample | Self::WallClockSample => "sampledThread",
            Self::LiveObject | Self::Measured(..) | Self::Lasting(_) => "eventThread",
        }
    }
}

/// State of a sampled thread, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadState {
    Unknown,
    Sleeping,
    Runnable,
    Other,
}

/// What to pick from the events of one type, in the order of the slots.
enum Reader {
    /// Stack trace, state, context, span, span name, amount, thread.
    Sample(EventType, Box<Plan<7>>),
    /// Name, value.
    Setting(Plan<2>),
}

impl Reader {
    fn new(metadata: &Metadata<'_>, class: ClassIndex) -> Option<Self> {
        let class_name = metadata.class_name(class);
        if class_name == "jdk.ActiveSetting" {
            return Some(Self::Setting(metadata.plan(class, ["name", "value"])));
        }
        let event = EventType::of(class_name)?;
        let (amount, thread) = (event.amount_field(), event.thread_field());
        let fields = ["stackTrace", "state", "contextId", "spanId", "spanName", amount, thread];
        Some(Self::Sample(event, Box::new(metadata.plan(class, fields))))
    }
}

/// Values of one sample in one profile, as many as it has sample types.
type Contribution = (Kind, [i64; 2]);

/// Reads the events of one chunk.
pub(crate) struct Events<'a> {
    pub(crate) metadata: &'a Metadata<'a>,
    pub(crate) texts: Texts<'a>,
    pub(crate) stacks: Option<Stacks>,
    pub(crate) ticks_per_second: u64,
}

impl Events<'_> {
    /// Goes through the events from `cursor` to the end of the chunk.
    pub(crate) fn read(mut self, mut cursor: Cursor<'_>, builder: &mut Builder<'_>) -> Result<(), Fault> {
        let reader = |class| Some((self.metadata.class_id(class), Reader::new(self.metadata, class)?));
        let readers: HashMap<u64, Reader> = self.metadata.class_indexes().filter_map(reader).collect();
        let mut states = HashMap::new();
        while cursor.remaining() > 0 {
            let Ok((event_type, end)) = event_header(&mut cursor) else {
                builder.losses.add(Loss::EventList);
                break;
            };
            let Some(reader) = readers.get(&event_type) else {
                cursor = cursor.at(end);
                continue;
            };
            builder.budget.events.take(1)?;
            let mut fields = cursor.until(end);
            let done = match reader {
                Reader::Sample(event, plan) => self.sample(*event, plan, &mut fields, &mut states, builder),
                Reader::Setting(plan) => self.setting(plan, &mut fields, builder),
            };
            match done {
                Err(Fault::Damaged { .. }) => builder.losses.add(Loss::Event),
                done => done?,
            }
            cursor = cursor.at(end);
        }
        Ok(())
    }

    fn sample(
        &mut self,
        event: EventType,
        plan: &Plan<7>,
        cursor: &mut Cursor<'_>,
        states: &mut HashMap<u64, ThreadState>,
        builder: &mut Builder<'_>,
    ) -> Result<(), Fault> {
        let [stack, state, context, span, span_name, amount, thread] = self.metadata.pick(plan, cursor)?;
        let [stack_field, state_field, _, _, _, _, thread_field] = plan.picked;
        let amount = i64::try_from(amount.number().unwrap_or(0)).map_err(|_| cursor.damaged("amount is negative"))?;
        let state = match event {
            EventType::ExecutionSample | EventType::WallClockSample => self.state(state_field, state, states)?,
            EventType::LiveObject | EventType::Measured(..) | EventType::Lasting(_) => ThreadState::Other,
        };
        let contributions = self.contributions(event, state, amount, builder);
        if contributions == [None, None] {
            return Ok(());
        }
        let stack = match (&mut self.stacks, stack_field, stack) {
            (Some(stacks), Some(field), Value::Number(key)) => stacks.get(&self.texts, field, key, builder)?,
            _ => None,
        };
        let Some(stack) = stack else {
            builder.losses.add(Loss::MissingStack);
            return Ok(());
        };
        let thread = if builder.options.thread_names { self.texts.of(thread_field, thread)? } else { None };
        let origin = Origin {
            context: context.number().unwrap_or(0),
            span: span.number().unwrap_or(0),
            span_name: span_name.number().unwrap_or(0),
            thread: builder.name(&thread.unwrap_or_default())?,
        };
        contributions.into_iter().flatten().try_for_each(|(kind, values)| builder.sample(kind, stack, origin, values))
    }

    fn contributions(
        &self,
        event: EventType,
        state: ThreadState,
        amount: i64,
        builder: &mut Builder<'_>,
    ) -> [Option<Contribution>; 2] {
        let period_ns = 1_000_000_000_i64.checked_div(builder.options.sample_rate_hz.into()).unwrap_or(0);
        let is_wall = builder.jfr_event == "wall";
        match event {
            EventType::ExecutionSample => {
                if state == ThreadState::Unknown {
                    builder.losses.add(Loss::UnknownThreadState);
                }
                let is_running = !matches!(state, ThreadState::Unknown | ThreadState::Sleeping);
                let values = [period_ns, 0];
                [is_running.then_some((Kind::Cpu, values)), is_wall.then_some((Kind::Wall, values))]
            }
            EventType::WallClockSample => {
                let is_running = is_wall && state == ThreadState::Runnable;
                let values = [period_ns.saturating_mul(amount), 0];
                [is_running.then_some((Kind::Cpu, values)), Some((Kind::Wall, values))]
            }
            EventType::LiveObject => [Some((Kind::Live, [1, 0])), None],
            EventType::Measured(kind, _) => [Some((kind, [1, amount])), None],
            EventType::Lasting(kind) => [Some((kind, [1, self.nanoseconds(amount)])), None],
        }
    }

    fn nanoseconds(&self, ticks: i64) -> i64 {
        let nanoseconds = i128::from(ticks) * 1_000_000_000 / i128::from(self.ticks_per_second);
        i64::try_from(nanoseconds).unwrap_or(i64::MAX)
    }

    fn state(
        &self,
        field: Option<Field>,
        value: Value,
        known: &mut HashMap<u64, ThreadState>,
    ) -> Result<ThreadState, Fault> {
        if let Some(&state) = value.number().and_then(|key| known.get(&key)) {
            return Ok(state);
        }
        let state = match self.texts.of(field, value)?.as_deref() {
            None | Some("") => return Ok(ThreadState::Unknown),
            Some("STATE_SLEEPING") => ThreadState::Sleeping,
            Some("STATE_RUNNABLE") => ThreadState::Runnable,
            Some(_) => ThreadState::Other,
        };
        if let Some(key) = value.number() {
            known.insert(key, state);
        }
        Ok(state)
    }

    fn setting(&self, plan: &Plan<2>, cursor: &mut Cursor<'_>, builder: &mut Builder<'_>) -> Result<(), Fault> {
        let [name, value] = self.metadata.pick(plan, cursor)?;
        let [name_field, value_field] = plan.picked;
        if self.texts.of(name_field, name)?.as_deref() == Some("event") {
            builder.jfr_event = self.texts.of(value_field, value)?.unwrap_or_default().into_owned();
        }
        Ok(())
    }
}

/// Type and end of the event that `cursor` stands at.
fn event_header(cursor: &mut Cursor<'_>) -> Result<(u64, usize), Fault> {
    let start = cursor.position();
    let chunk_end = start + cursor.remaining();
    let (size, event_type) = (cursor.int()?, cursor.long()?);
    match usize::try_from(size).ok().and_then(|size| start.checked_add(size)) {
        Some(end) if (cursor.position()..=chunk_end).contains(&end) => Ok((event_type, end)),
        _ => Err(cursor.damaged("event size does not fit the chunk")),
    }
}
