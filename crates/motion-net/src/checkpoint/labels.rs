//! Names of the classes. In: a label file as data sets publish it. Out: the names in the order of the classes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    List(Vec<String>),
    Object(BTreeMap<String, serde_json::Value>),
}

/// Whether a label file is JSON, rather than a name a line.
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Names of the classes in order: a line each, a JSON array, or an object from names to numbers (Something-Something
/// V2; its brackets are taken away) or from numbers to names (`id2label`).
///
/// # Errors
/// [`Error::Config`] when there is no name, or the numbers are not those from 0 on.
pub fn parse(text: &str) -> Result<Vec<String>> {
    let labels: Vec<String> = if is_json(text) {
        let json = serde_json::from_str(text).map_err(|error| {
            Error::Config(format!("labels: not a JSON array or object of labels: {error}"))
        })?;
        match json {
            Json::List(labels) => labels,
            Json::Object(object) => by_number(&object)?,
        }
    } else {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    if labels.is_empty() {
        return Err(Error::Config("labels: no label in it, expected one a line".to_owned()));
    }
    Ok(labels.into_iter().map(|label| label.replace(['[', ']'], "")).collect())
}

fn by_number(object: &BTreeMap<String, serde_json::Value>) -> Result<Vec<String>> {
    let wrong = |message: String| Error::Config(format!("labels: {message}"));
    let mut labels = BTreeMap::new();
    for (key, value) in object {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (number, label) = match (text.parse::<usize>(), key.parse::<usize>()) {
            (Ok(number), _) => (number, key.clone()),
            (_, Ok(number)) => (number, text),
            _ => {
                let expected = "expected \"label\": \"0\" or \"0\": \"label\"";
                return Err(wrong(format!("{key:?}: {text:?} has no class number, {expected}")));
            }
        };
        if let Some(twice) = labels.insert(number, label) {
            return Err(wrong(format!("class {number} has two labels, one is {twice:?}")));
        }
    }
    if let Some((expected, found)) = labels.keys().enumerate().find(|(i, number)| i != *number) {
        let message =
            format!("class {expected} has no label (the next one is {found}), expected every number from 0");
        return Err(wrong(message));
    }
    Ok(labels.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_in_every_form() {
        let expected = ["Moving something up", "Holding something"];
        for text in [
            "Moving something up\n\n  Holding something \r\n",
            r#"["Moving [something] up", "Holding [something]"]"#,
            r#"{"Holding [something]": "1", "Moving [something] up": "0"}"#,
            r#"{"1": "Holding something", "0": "Moving something up"}"#,
            r#"{"Holding something": 1, "Moving something up": 0}"#,
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn labels_that_cannot_be_numbered() {
        for (text, hint) in [
            ("", "no label"),
            ("{\"a\": \"0\", \"b\": \"2\"}", "class 1 has no label"),
            ("{\"a\": \"0\", \"b\": \"0\"}", "two labels"),
            ("{\"a\": \"b\"}", "no class number"),
            ("[1", "not a JSON"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }
}
