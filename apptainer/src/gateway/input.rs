//! What requests say: queries and bodies, and what is wrong with them.

use axum::extract::{FromRequestParts, RawQuery};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::Refusal;
use crate::agent_server::wire::ExecuteBashRequest;

/// The pairs of a query.
#[derive(Debug)]
pub(super) struct Input(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Input {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let RawQuery(query) = RawQuery::from_request_parts(parts, state)
            .await
            .map_err(|never| match never {})?;
        // Its base is of no account.
        let url = reqwest::Url::parse(&format!("http://x/?{}", query.unwrap_or_default()));
        let url = url.map_err(|error| Refusal::bad(error.to_string()))?;
        Ok(Self(url.query_pairs().into_owned().collect()))
    }
}

impl Input {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            Refusal::invalid("missing", &["query", name], "Field required", json!(null))
        })
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let parse = |text: &str| {
            text.trim().parse().map_err(|_| {
                let message =
                    "Input should be a valid integer, unable to parse string as an integer";
                Refusal::invalid("int_parsing", &["query", name], message, json!(text))
            })
        };
        self.get(name).map(parse).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "y" | "t" => Ok(true),
            "false" | "0" | "off" | "no" | "n" | "f" => Ok(false),
            _ => {
                let message = "Input should be a valid boolean, unable to interpret input";
                Err(Refusal::invalid(
                    "bool_parsing",
                    &["query", name],
                    message,
                    json!(text),
                ))
            }
        };
        self.get(name).map(parse).transpose()
    }

    /// How many are wanted: from 1 to 100, which is also what it is otherwise.
    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        let at = &["query", "limit"];
        let limit = self.integer("limit")?.unwrap_or(100);
        let refusal =
            |kind, message: &str| Refusal::invalid(kind, at, message, json!(limit.to_string()));
        if limit < 1 {
            return Err(refusal("greater_than", "Input should be greater than 0"));
        }
        if limit > 100 {
            let message = "Input should be less than or equal to 100";
            return Err(refusal("less_than_equal", message));
        }
        Ok(usize::try_from(limit).unwrap_or(100))
    }

    pub(super) fn one_of(&self, name: &str, all: &[&str]) -> Result<Option<&str>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        if all.contains(&text) {
            return Ok(Some(text));
        }
        let message = format!("Input should be '{}'", all.join("' or '"));
        Err(Refusal::invalid(
            "literal_error",
            &["query", name],
            message,
            json!(text),
        ))
    }

    pub(super) fn id(&self, name: &str) -> Result<Option<String>, Refusal> {
        self.get(name)
            .map(|text| id(text, &["query", name]))
            .transpose()
    }

    /// A moment, in microseconds since 1970.
    pub(super) fn moment(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let parse = |text: &str| {
            let civil = || {
                let civil = text.parse::<jiff::civil::DateTime>().ok()?;
                jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
            };
            let found = text.parse::<Timestamp>().ok().or_else(civil);
            found.map(Timestamp::as_microsecond).ok_or_else(|| {
                let message = "Input should be a valid datetime or date";
                Refusal::invalid(
                    "datetime_from_date_parsing",
                    &["query", name],
                    message,
                    json!(text),
                )
            })
        };
        self.get(name).map(parse).transpose()
    }
}

/// An id, as 32 hexadecimal digits.
pub(super) fn id(text: &str, at: &[&str]) -> Result<String, Refusal> {
    match Uuid::try_parse(text) {
        Ok(id) => Ok(id.simple().to_string()),
        Err(error) => {
            let message = format!("Input should be a valid UUID, {error}");
            Err(Refusal::invalid("uuid_parsing", at, message, json!(text)))
        }
    }
}

/// A body that asks for a shell line.
pub(super) fn execute_request(body: &[u8]) -> Result<ExecuteBashRequest, Refusal> {
    if body.is_empty() {
        return Err(Refusal::invalid(
            "missing",
            &["body"],
            "Field required",
            json!(null),
        ));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| Refusal::invalid("json_invalid", &["body"], "JSON decode error", json!({})))?;
    execute_value(&body)
}

/// The same of JSON.
pub(super) fn execute_value(body: &Value) -> Result<ExecuteBashRequest, Refusal> {
    let Value::Object(fields) = body else {
        let message = "Input should be a valid dictionary or object to extract fields from";
        return Err(Refusal::invalid(
            "model_attributes_type",
            &["body"],
            message,
            body.clone(),
        ));
    };
    let no_text = |name: &str, value: &Value| {
        let message = "Input should be a valid string";
        Refusal::invalid("string_type", &["body", name], message, value.clone())
    };
    let command = match fields.get("command") {
        Some(Value::String(command)) => command.clone(),
        Some(other) => return Err(no_text("command", other)),
        None => {
            let at = &["body", "command"];
            return Err(Refusal::invalid(
                "missing",
                at,
                "Field required",
                body.clone(),
            ));
        }
    };
    let cwd = match fields.get("cwd") {
        None | Some(Value::Null) => None,
        Some(Value::String(cwd)) => Some(cwd.clone()),
        Some(other) => return Err(no_text("cwd", other)),
    };
    let timeout = match fields.get("timeout") {
        None => 300,
        Some(value) => integer(value).ok_or_else(|| {
            let message = "Input should be a valid integer";
            Refusal::invalid("int_type", &["body", "timeout"], message, value.clone())
        })?,
    };
    Ok(ExecuteBashRequest {
        command,
        cwd,
        timeout,
    })
}

/// A number without a fraction, or such a one as text.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let text = number.to_string();
            text.strip_suffix(".0")?.parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, execute_request, id};

    #[test]
    fn a_body_is_what_the_agent_server_takes() {
        let request = execute_request(br#"{"command": "a", "timeout": 5.0, "more": 1}"#).unwrap();
        assert_eq!((request.command.as_str(), request.timeout), ("a", 5));
        let request = execute_request(br#"{"command": "a", "cwd": "/b", "timeout": "7"}"#).unwrap();
        assert_eq!((request.cwd.as_deref(), request.timeout), (Some("/b"), 7));
        let bodies = [
            "",
            "{",
            "[]",
            "{}",
            r#"{"command":7}"#,
            r#"{"command":"a","cwd":1}"#,
        ];
        for body in bodies {
            assert!(execute_request(body.as_bytes()).is_err(), "{body}");
        }
        assert!(execute_request(br#"{"command": "a", "timeout": 5.5}"#).is_err());
    }

    #[test]
    fn what_a_query_says_is_checked() {
        let input = |name: &str, value: &str| Input(vec![(name.into(), value.into())]);
        assert_eq!(input("limit", "7").limit().unwrap(), 7);
        for wrong in ["0", "101", "x"] {
            assert!(input("limit", wrong).limit().is_err(), "{wrong}");
        }
        let moment = |text| input("t", text).moment("t");
        assert_eq!(
            moment("1970-01-01T00:00:01.000002Z").unwrap(),
            Some(1_000_002)
        );
        assert_eq!(
            moment("1970-01-01T02:00:01+02:00").unwrap(),
            Some(1_000_000)
        );
        assert_eq!(moment("1970-01-01T00:00:01").unwrap(), Some(1_000_000));
        assert!(moment("yesterday").is_err());
        assert!(id("aaaa", &[]).is_err());
        assert_eq!(
            id("AE89FEB2-0B87-419E-966E-5AAE0C496834", &[]).unwrap(),
            "ae89feb20b87419e966e5aae0c496834"
        );
    }
}
