//! Reads selectors: PromQL's instant vector selectors, without a range.
//!
//! ```text
//! selector = metric | [ metric ] "{" [ condition { "," condition } [ "," ] ] "}"
//! condition = name operator string | string          (a string alone is the metric)
//! name = identifier | string        operator = "=" | "!=" | "=~" | "!~"
//! ```
//!
//! Strings stand in double or single quotes with Go's escapes, or in backticks without any.

use argand_model::{MatchOp, Matcher, ProfileType, name};

use crate::QueryError;

/// Most conditions of one selector.
const MAX_MATCHERS: usize = 128;

/// A question's selector with the profile type in front.
#[derive(Clone, Debug)]
pub struct Query {
    /// Type stated in front of the braces, or inside by `__profile_type__="…"`.
    pub profile_type: Option<ProfileType>,
    /// All conditions, that on the profile type included.
    pub matchers: Vec<Matcher>,
}

/// Reads a selector such as `{service_name="shop", region=~"eu-.*"}`; a metric in front becomes a condition on
/// `__name__`. `{}` means everything; an empty text is an error.
///
/// Errors: [`QueryError::Selector`] with the place, [`QueryError::Matcher`] for a bad pattern.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, QueryError> {
    let mut parser = Parser { text, position: 0, matchers: Vec::new(), metric_is_set: false };
    parser.selector()?;
    Ok(parser.matchers)
}

/// Reads several selectors whose conditions must all hold.
pub fn parse_selectors<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Matcher>, QueryError> {
    let parsed: Result<Vec<_>, _> = texts.iter().map(|text| parse_selector(text.as_ref())).collect();
    Ok(parsed?.concat())
}

/// Reads `<profile type>{…}`, where either part may be missing but not both.
///
/// Errors: as [`parse_selector`], positions counted from the start of `text`; [`QueryError::ProfileType`].
pub fn parse_query(text: &str) -> Result<Query, QueryError> {
    let brace = text.find('{').unwrap_or(text.len());
    let type_text = text[..brace].trim();
    let mut matchers = Vec::new();
    if brace < text.len() || type_text.is_empty() {
        let mut parser = Parser { text, position: brace, matchers: Vec::new(), metric_is_set: false };
        parser.selector()?;
        matchers = parser.matchers;
    }
    if type_text.is_empty() {
        let states_type = |m: &&Matcher| m.name() == name::PROFILE_TYPE && m.op() == MatchOp::Equal;
        let profile_type = matchers.iter().find(states_type).map(|m| m.value().parse()).transpose()?;
        return Ok(Query { profile_type, matchers });
    }
    let profile_type: ProfileType = type_text.parse()?;
    matchers.push(Matcher::equal(name::PROFILE_TYPE, &profile_type.to_string()));
    Ok(Query { profile_type: Some(profile_type), matchers })
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    matchers: Vec<Matcher>,
    metric_is_set: bool,
}

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<(), QueryError> {
        self.skip_blanks();
        let metric = self.identifier(true);
        if !metric.is_empty() {
            self.set_metric(self.position - metric.len(), metric)?;
            self.skip_blanks();
        }
        if self.eat('{') {
            self.conditions()?;
            self.skip_blanks();
        } else if metric.is_empty() {
            return Err(self.expected("a selector such as {service_name=\"shop\"}"));
        }
        if self.rest().is_empty() { Ok(()) } else { Err(self.expected("the end")) }
    }

    fn conditions(&mut self) -> Result<(), QueryError> {
        loop {
            self.skip_blanks();
            if self.eat('}') {
                return Ok(());
            }
            self.condition()?;
            self.skip_blanks();
            if !self.eat(',') && !self.rest().starts_with('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn condition(&mut self) -> Result<(), QueryError> {
        if self.matchers.len() >= MAX_MATCHERS {
            return Err(self.expected("at most 128 conditions"));
        }
        let start = self.position;
        let quoted = self.rest().starts_with(QUOTES);
        let name = if quoted { self.string()? } else { self.identifier(false).to_owned() };
        if name.is_empty() {
            self.position = start;
            return Err(self.expected("a label name or `}`"));
        }
        self.skip_blanks();
        if quoted && self.rest().starts_with([',', '}']) {
            return self.set_metric(start, &name);
        }
        let op = self.operator()?;
        self.skip_blanks();
        let value = self.string()?;
        if name == name::NAME && op == MatchOp::Equal {
            return self.set_metric(start, &value);
        }
        self.matchers.push(Matcher::new(&name, op, &value)?);
        Ok(())
    }

    fn operator(&mut self) -> Result<MatchOp, QueryError> {
        const OPERATORS: [(&str, MatchOp); 4] = [
            ("=~", MatchOp::Regex),
            ("!~", MatchOp::NotRegex),
            ("!=", MatchOp::NotEqual),
            ("=", MatchOp::Equal), // after those that begin with it
        ];
        let found = OPERATORS.into_iter().find(|(token, _)| self.rest().starts_with(token));
        let (token, op) = found.ok_or_else(|| self.expected("`=`, `!=`, `=~` or `!~`"))?;
        self.position += token.len();
        Ok(op)
    }

    /// A name by bare characters; empty when there is none. Only metrics may contain colons.
    fn identifier(&mut self, colons: bool) -> &'a str {
        let rest = self.rest();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        let word = &rest[..rest.find(|c| !allowed(c)).unwrap_or(rest.len())];
        self.position += word.len();
        word
    }

    fn set_metric(&mut self, at: usize, metric: &str) -> Result<(), QueryError> {
        if self.metric_is_set {
            self.position = at;
            return Err(self.expected("only one metric name"));
        }
        self.metric_is_set = true;
        self.matchers.push(Matcher::equal(name::NAME, metric));
        Ok(())
    }

    fn string(&mut self) -> Result<String, QueryError> {
        let start = self.position;
        let quote = self.next_if(|c| QUOTES.contains(&c)).ok_or_else(|| self.expected("a quoted string"))?;
        let mut bytes = Vec::new();
        loop {
            let at = self.position;
            let Some(c) = self.next_if(|_| true) else {
                self.position = at;
                return Err(self.expected("a closing quote"));
            };
            match c {
                c if c == quote => break,
                '\\' if quote != '`' => self.escape(at, quote, &mut bytes)?,
                '\n' if quote != '`' => {
                    self.position = at;
                    return Err(self.expected("a closing quote"));
                }
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            self.position = start;
            self.expected("a string that is UTF-8 after its escapes")
        })
    }

    /// What follows a backslash, which stands at `at`.
    fn escape(&mut self, at: usize, quote: char, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let kind = self.next_if(|_| true);
        let code_point = match kind {
            Some('a') => Some(0x07),
            Some('b') => Some(0x08),
            Some('f') => Some(0x0C),
            Some('n') => Some(0x0A),
            Some('r') => Some(0x0D),
            Some('t') => Some(0x09),
            Some('v') => Some(0x0B),
            Some('\\') => Some(0x5C),
            Some(c) if c == quote => Some(c as u32),
            Some('u') => self.digits(4, 16),
            Some('U') => self.digits(8, 16),
            Some('x') => return self.byte_escape(at, 2, 16, out),
            Some('0'..='7') => {
                self.position -= 1;
                return self.byte_escape(at, 3, 8, out);
            }
            _ => None,
        };
        match code_point.and_then(char::from_u32) {
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => return Err(self.bad_escape(at)),
        }
        Ok(())
    }

    fn byte_escape(&mut self, at: usize, digits: usize, radix: u32, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let byte = self.digits(digits, radix).and_then(|value| u8::try_from(value).ok());
        out.push(byte.ok_or_else(|| self.bad_escape(at))?);
        Ok(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let digit = self.next_if(|c| c.is_digit(radix))?.to_digit(radix)?;
            value = value.checked_mul(radix)?.checked_add(digit)?;
        }
        Some(value)
    }

    fn bad_escape(&mut self, at: usize) -> QueryError {
        self.position = at;
        self.expected("a valid escape sequence")
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn next_if(&mut self, accept: impl Fn(char) -> bool) -> Option<char> {
        let c = self.rest().chars().next().filter(|&c| accept(c))?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, token: char) -> bool {
        self.next_if(|c| c == token).is_some()
    }

    fn expected(&self, expected: &'static str) -> QueryError {
        let found = match self.rest().chars().next() {
            None => "the end".to_owned(),
            Some(_) => format!("{:?}", self.rest().chars().take(16).collect::<String>()),
        };
        QueryError::Selector { position: self.position, expected, found }
    }
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

#[cfg(test)]
mod tests;
