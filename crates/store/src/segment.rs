//! How the queries of segments are written into a column. Both databases write them the same way.

use crate::column::corrupt;
use crate::{Error, Result};
use serde_json::{Map, Number, Value as Json};
use tidings_domain::segment::{self, Change, Node, Query, Touch};

/// The text of a query, as JSON.
pub(crate) fn query_text(query: &Query) -> String {
    json(&segment::write(query)).to_string()
}

fn json(node: &Node) -> Json {
    match node {
        Node::Null => Json::Null,
        Node::YesNo(yes) => Json::Bool(*yes),
        Node::Number(text) => {
            match (text.parse::<i64>(), text.parse::<f64>().ok().and_then(Number::from_f64)) {
                (Ok(whole), _) => whole.into(),
                (_, Some(number)) => Json::Number(number),
                // A decimal number is one of both.
                _ => Json::Null,
            }
        }
        Node::Text(text) => Json::String(text.clone()),
        Node::List(items) => items.iter().map(json).collect(),
        Node::Object(entries) => {
            let entries: Map<String, Json> =
                entries.iter().map(|(key, node)| (key.clone(), json(node))).collect();
            Json::Object(entries)
        }
    }
}

/// Reads the text of a query.
pub(crate) fn query(text: &str) -> Result<Query> {
    let read: Json = serde_json::from_str(text).map_err(|why| corrupt("query of a segment", why))?;
    segment::parse(&node(read)).map_err(|wrongs| {
        let first = wrongs.into_iter().next();
        corrupt("query of a segment", first.map(|wrong| wrong.reason).unwrap_or_default())
    })
}

fn node(json: Json) -> Node {
    match json {
        Json::Null => Node::Null,
        Json::Bool(yes) => Node::YesNo(yes),
        // The library writes small numbers with an exponent; the language does not.
        Json::Number(number) => Node::Number(match (number.as_i64(), number.as_f64()) {
            (None, Some(number)) => number.to_string(),
            _ => number.to_string(),
        }),
        Json::String(text) => Node::Text(text),
        Json::Array(items) => Node::List(items.into_iter().map(node).collect()),
        Json::Object(entries) => {
            Node::Object(entries.into_iter().map(|(key, json)| (key, node(json))).collect())
        }
    }
}

/// From the number in a column.
pub(crate) fn touch(number: i64) -> Result<Touch> {
    let known = u8::try_from(number).ok().and_then(Touch::from_number);
    known.ok_or_else(|| corrupt("kind of a touch", number))
}

/// What the trail says of a change: what was changed.
pub(crate) fn changed_line(change: &Change) -> String {
    let Change { name, description, query } = change;
    let named =
        [("name", name.is_some()), ("description", description.is_some()), ("query", query.is_some())];
    named
        .into_iter()
        .filter(|(_, is_changed)| *is_changed)
        .map(|(what, _)| what)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Why a name cannot be had.
pub(crate) fn name_taken(id: tidings_domain::id::SegmentId, name: &str) -> Error {
    Error::Conflict(format!("the segment {id} has the name `{name}` already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_kept_as_it_is() {
        let read = |text: &str| node(serde_json::from_str(text).expect("JSON"));
        for text in [
            r#"{"all":[{"field":"n","above":0.0001},{"field":"n","below":-99999999999.9999},{"field":"n","is":7}]}"#,
            r#"{"not":{"any":[{"suppressed":true},{"field":"d","from":"2026-01-31"},{"owner":"A \"b\" 😀"}]}}"#,
        ] {
            let query_read = segment::parse(&read(text)).expect("a query");
            assert_eq!(query(&query_text(&query_read)).expect("read"), query_read);
        }
        assert!(query("{}").is_err() && query("[").is_err());
    }
}
