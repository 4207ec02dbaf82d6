//! Parameters of an address, and forms: decoded, each known and given once.

use crate::problem::Problem;
use tidings_domain::spelling::nearest;
use tidings_domain::text::brief;
use tidings_domain::time::Timestamp;
use tidings_wire::body::{Field, Kind};
use tidings_wire::error::{Code, FieldError};

/// More pairs than any address or form here has.
const PAIRS_MAX: usize = 64;

/// Decoded name-value pairs.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// Decodes `application/x-www-form-urlencoded`; `None` if it is not decodable text.
pub(crate) fn decode(raw: &str) -> Option<Vec<(String, String)>> {
    let parts = raw.split('&').filter(|part| !part.is_empty());
    let pairs: Option<Vec<_>> = parts
        .take(PAIRS_MAX + 1)
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((unescape(name)?, unescape(value)?))
        })
        .collect();
    pairs.filter(|pairs| pairs.len() <= PAIRS_MAX)
}

/// Percent-decodes, with `+` for a space.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

impl Query {
    /// Reads the query of an address against the parameters that it may have.
    pub fn read(raw: &str, known: &'static [Field]) -> Result<Self, Problem> {
        if raw.is_empty() {
            return Ok(Self::default());
        }
        let Some(pairs) = decode(raw) else {
            return Err(Problem::new(Code::InvalidRequest, "The parameters after ? cannot be decoded."));
        };
        let mut errors = Vec::new();
        for (place, (name, value)) in pairs.iter().enumerate() {
            let Some(field) = known.iter().find(|field| field.name == name) else {
                let near = nearest(name, known.iter().map(|field| field.name));
                let near = near.map(|near| format!(" Did you mean `{near}`?")).unwrap_or_default();
                let shown = brief(name, 40).to_owned();
                let detail = format!("There is no parameter {shown:?} here.{near}");
                errors.push(FieldError::new(shown, Code::InvalidRequest, "unknown_parameter", detail));
                continue;
            };
            if pairs[..place].iter().any(|(before, _)| before == name) {
                let detail = format!("The parameter `{name}` comes twice.");
                errors.push(FieldError::new(field.name, Code::InvalidRequest, "given_twice", detail));
                continue;
            }
            // A variable of a script that is not set, most likely: what it was to narrow or to name would be passed over.
            if value.is_empty() && matches!(field.kind, Kind::Text) {
                let detail = format!("`{name}` is empty: give it a value, or leave it out.");
                errors.push(FieldError::new(field.name, Code::InvalidRequest, "empty", detail));
                continue;
            }
            let wanted = match field.kind {
                Kind::Integer(least, most) => match value.parse::<i64>() {
                    Ok(number) if (least..=most).contains(&number) => continue,
                    _ => format!("a whole number from {least} to {most}"),
                },
                Kind::Word(words) if !words.contains(&value.as_str()) => {
                    format!("one of: {}", words.join(", "))
                }
                Kind::Boolean if !matches!(value.as_str(), "true" | "false") => "true or false".to_owned(),
                _ => continue,
            };
            let detail = format!("`{name}` must be {wanted}.");
            errors.push(FieldError::new(field.name, Code::InvalidRequest, "invalid", detail));
        }
        if errors.is_empty() { Ok(Self { pairs }) } else { Err(Problem::fields(errors)) }
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A phone number or sender: a `+` that was not escaped came as a space, and is put back.
    pub fn number(&self, name: &str) -> Option<String> {
        let text = self.get(name)?;
        Some(match text.strip_prefix(' ') {
            Some(rest) => format!("+{rest}"),
            None => text.to_owned(),
        })
    }

    /// A moment.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // A `+` of an offset that was not escaped came as a space.
        Timestamp::parse(&text.replace(' ', "+"))
            .map(Some)
            .map_err(|why| FieldError::new(name, Code::InvalidTime, "unreadable", why).into())
    }

    /// An id.
    pub fn id<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|why| FieldError::new(name, Code::InvalidRequest, "invalid_id", why).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: &[Field] = &[
        Field::new("to", Kind::Text, ""),
        Field::new("limit", Kind::Integer(1, 100), ""),
        Field::new("status", Kind::Word(&["queued", "sent"]), ""),
        Field::new("open", Kind::Boolean, ""),
    ];

    #[test]
    fn parameters_are_known_and_given_once() {
        for (raw, expected) in [
            ("", ""),
            ("to=%2B1555&limit=5&status=sent&open=true", ""),
            ("&&", ""),
            ("limit=0", "limit:invalid"),
            ("limit=-1", "limit:invalid"),
            ("limit=1000000000", "limit:invalid"),
            ("limit=x&status=snet&open=1", "limit:invalid status:invalid open:invalid"),
            ("to=a&to=b", "to:given_twice"),
            ("limt=5", "limt:unknown_parameter"),
            ("to=", "to:empty"),
            ("to&limit=", "to:empty limit:invalid"),
        ] {
            let told = match Query::read(raw, KNOWN) {
                Ok(_) => String::new(),
                Err(problem) => {
                    let told: Vec<_> =
                        problem.errors.iter().map(|e| format!("{}:{}", e.field, e.reason)).collect();
                    told.join(" ")
                }
            };
            assert_eq!(told, expected, "{raw}");
        }
        for raw in ["to=%", "to=%zz", "to=%ff", &"a=b&".repeat(65)] {
            assert_eq!(Query::read(raw, KNOWN).unwrap_err().status, 400, "{raw}");
        }
    }

    #[test]
    fn a_plus_that_was_not_escaped_is_understood() {
        for raw in ["to=+15550002222", "to=%2B15550002222"] {
            assert_eq!(Query::read(raw, KNOWN).unwrap().number("to").as_deref(), Some("+15550002222"));
        }
    }
}
