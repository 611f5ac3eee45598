//! Labels of the series as postings: which series has which label pair. Label sets are the same facts turned round.

use argand_model::{Labels, Matcher};

use super::limit;
use crate::codec::{Decoded, Decoder, Encoder, Scratch, as_u32, put_varint};

/// All label pairs of a dataset.
///
/// Shape: names ascending, of each name the values ascending, of each value its series ascending; a series has at
/// most one value of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Postings {
    series_count: u32,
    names: Vec<LabelName>,
}

#[derive(Debug, PartialEq, Eq)]
struct LabelName {
    name: Box<str>,
    values: Vec<(Box<str>, Vec<u32>)>,
}

impl Postings {
    pub(crate) fn of_series(series: &[Labels]) -> Self {
        let mut pairs: Vec<(&str, &str, u32)> = (0u32..)
            .zip(series)
            .flat_map(|(index, labels)| labels.iter().map(move |(name, value)| (name, value, index)))
            .collect();
        pairs.sort_unstable();
        let mut postings = Self { series_count: series.len() as u32, names: Vec::new() };
        for (name, value, index) in pairs {
            if postings.names.last().is_none_or(|last| *last.name != *name) {
                postings.names.push(LabelName { name: name.into(), values: Vec::new() });
            }
            let values = &mut postings.names.last_mut().expect("just pushed").values;
            match values.last_mut() {
                Some((last, of)) if **last == *value => of.push(index),
                _ => values.push((value.into(), vec![index])),
            }
        }
        postings
    }

    /// Label sets by series.
    pub(crate) fn to_series(&self) -> Vec<Labels> {
        let mut pairs: Vec<Vec<(&str, &str)>> = vec![Vec::new(); self.series_count as usize];
        for LabelName { name, values } in &self.names {
            for (value, series) in values {
                series.iter().for_each(|&index| pairs[index as usize].push((name, value)));
            }
        }
        pairs.into_iter().map(Labels::new).collect()
    }

    /// Indexes of the series that all `matchers` accept, ascending.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut accepted = vec![true; self.series_count as usize];
        for matcher in matchers {
            let of_matcher = self.accepted_by(matcher);
            accepted.iter_mut().zip(of_matcher).for_each(|(all, this)| *all &= this);
        }
        (0u32..).zip(accepted).filter(|&(_, accepted)| accepted).map(|(index, _)| index).collect()
    }

    fn accepted_by(&self, matcher: &Matcher) -> Vec<bool> {
        // A label that a series lacks counts as the empty string.
        let mut accepted = vec![matcher.matches_value(""); self.series_count as usize];
        if let Ok(at) = self.names.binary_search_by(|entry| entry.name.as_ref().cmp(matcher.name())) {
            for (value, series) in &self.names[at].values {
                let verdict = matcher.matches_value(value);
                series.iter().for_each(|&index| accepted[index as usize] = verdict);
            }
        }
        accepted
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let of_value = |(text, series): &(Box<str>, Vec<u32>)| {
            size_of::<(Box<str>, Vec<u32>)>() + text.len() + series.capacity() * size_of::<u32>()
        };
        let of_name = |entry: &LabelName| {
            size_of::<LabelName>() + entry.name.len() + entry.values.iter().map(of_value).sum::<usize>()
        };
        self.names.iter().map(of_name).sum()
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) -> Vec<u8> {
        let values = || self.names.iter().flat_map(|entry| &entry.values);
        let texts = || {
            self.names
                .iter()
                .flat_map(|entry| std::iter::once(&entry.name).chain(entry.values.iter().map(|(text, _)| text)))
        };
        let mut out = Vec::new();
        put_varint(&mut out, self.names.len() as u64);
        put_varint(&mut out, values().count() as u64);
        put_varint(&mut out, values().map(|(_, series)| series.len() as u64).sum());
        encoder.integers(&mut out, self.names.iter().map(|entry| entry.values.len() as u64));
        encoder.integers(&mut out, texts().map(|text| text.len() as u64));
        encoder.bytes(&mut out, &texts().flat_map(|text| text.bytes()).collect::<Vec<u8>>());
        encoder.integers(&mut out, values().map(|(_, series)| series.len() as u64));
        let gaps = values().flat_map(|(_, series)| {
            let before = std::iter::once(0).chain(series.iter().map(|&index| index + 1));
            series.iter().zip(before).map(|(&index, before)| u64::from(index - before))
        });
        encoder.integers(&mut out, gaps);
        out
    }

    pub(crate) fn decode(bytes: &[u8], series_count: u32) -> Decoded<Self> {
        let scratch = &mut Scratch::new();
        let mut section = Decoder::new(bytes);
        let name_count = section.count(limit::POSTINGS)?;
        let value_count = section.count(limit::POSTINGS)?;
        let posting_count = section.count(limit::POSTINGS)?;
        if (posting_count as u64) < u64::from(series_count) {
            return Err("series without labels");
        }
        let values_of_name = section.integers(scratch, name_count, as_u32)?;
        let text_lens = section.integers(scratch, name_count + value_count, as_u32)?;
        let text_len = text_lens.iter().map(|&len| u64::from(len)).sum();
        let text = section.column(scratch, text_len..=text_len)?;
        let mut text = std::str::from_utf8(text).map_err(|_| "text is not UTF-8")?.to_owned();
        let lens_of_value = section.integers(scratch, value_count, as_u32)?;
        let gaps = section.integers(scratch, posting_count, as_u32)?;
        section.end()?;

        let mut rest = text.as_mut_str() as &str;
        let mut text_lens = text_lens.into_iter();
        let mut take_text = || -> Decoded<Box<str>> {
            let len = text_lens.next().ok_or("too few texts")? as usize;
            let (taken, left) = rest.split_at_checked(len).ok_or("text ends inside a character")?;
            rest = left;
            Ok(taken.into())
        };
        let (mut gaps, mut lens_of_value) = (gaps.into_iter(), lens_of_value.into_iter());
        let mut take_series = || -> Decoded<Vec<u32>> {
            let len = lens_of_value.next().ok_or("too few values")? as usize;
            let mut next = 0u32;
            let mut series = Vec::new();
            for gap in gaps.by_ref().take(len) {
                let index = next.checked_add(gap).filter(|&index| index < series_count).ok_or("series out of range")?;
                series.push(index);
                next = index + 1;
            }
            if series.len() == len { Ok(series) } else { Err("too few postings") }
        };
        let mut names: Vec<LabelName> = Vec::new();
        for value_count in values_of_name {
            let name = take_text()?;
            if names.last().is_some_and(|last| last.name >= name) {
                return Err("label names do not ascend");
            }
            let mut values: Vec<(Box<str>, Vec<u32>)> = Vec::new();
            for _ in 0..value_count {
                values.push((take_text()?, take_series()?));
            }
            names.push(LabelName { name, values });
        }
        if gaps.next().is_some() || lens_of_value.next().is_some() || !rest.is_empty() {
            return Err("counts do not fit each other");
        }
        let postings = Self { series_count, names };
        postings.check_one_value_per_name()?;
        Ok(postings)
    }

    fn check_one_value_per_name(&self) -> Decoded<()> {
        let mut last_name = vec![usize::MAX; self.series_count as usize];
        for (at, entry) in self.names.iter().enumerate() {
            if entry.values.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                return Err("label values do not ascend");
            }
            for &index in entry.values.iter().flat_map(|(_, series)| series) {
                if std::mem::replace(&mut last_name[index as usize], at) == at {
                    return Err("a series has two values of a label");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
