//! A published data set's folder, list and labels in; its videos with their classes out. Nothing is decoded here.
//!
//! | list | line | video |
//! |---|---|---|
//! | none | | `FOLDER/CLASS/VIDEO` |
//! | `.json`, Something-Something V2 | `{"id", "template" or "label"}` | `FOLDER/ID.webm` |
//! | `.csv` with `;`, Something-Something V1 | `ID;CLASS` | `FOLDER/ID/`, frames |
//! | `.csv` with a header, Kinetics | `label,youtube_id,time_start,time_end,split` | `FOLDER/[CLASS/]ID_START_END.mp4` |
//! | `.txt`, TSM | `PATH FRAMES LABEL` | `FOLDER/PATH` |
//! | a folder, HMDB51's splits | `VIDEO 1` (training) or `VIDEO 2` (test) in `CLASS_test_split1.txt` | `FOLDER/CLASS/VIDEO` |
//!
//! A video is a file or a folder of frames, whatever its extension.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result, at};
use crate::synth::Split;

/// What videos end with; a folder is one of frames.
const EXTENSIONS: [&str; 6] = ["webm", "mp4", "avi", "mkv", "mov", "mpg"];

/// Videos with their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Class names; a label is an index into them.
    pub labels: Vec<String>,
    /// Each video's path, as far as the list tells it, and label; it need not be there.
    pub videos: Vec<(PathBuf, usize)>,
}

/// A name and its class in words, or the class's number.
enum Class {
    Named(String),
    Numbered(usize),
}

/// Reads a set's list; see above. The classes are `labels`, or where absent those of the list, sorted; `split` chooses
/// among HMDB51's lists.
///
/// # Errors
/// [`Error::File`] or [`Error::Data`] naming the file, the line, what was found and what was expected.
pub fn read(folder: &Path, list: Option<&Path>, labels: Option<Vec<String>>, split: Split) -> Result<Listed> {
    let entries = match list {
        None => class_folders(folder)?,
        Some(list) if list.is_dir() => hmdb(folder, list, split)?,
        Some(list) => listed(folder, list)?,
    };
    let source = list.unwrap_or(folder);
    if entries.is_empty() {
        return Err(wrong(source, "names no video, expected at least one".into()));
    }
    let names: BTreeSet<&String> = entries.iter().filter_map(|(_, class)| named(class)).collect();
    let labels = match labels {
        Some(labels) => labels,
        None if names.is_empty() => {
            return Err(wrong(source, "has numbers for classes; say which file names them (labels)".into()));
        }
        None => names.into_iter().cloned().collect(),
    };
    let numbers: BTreeMap<&str, usize> =
        labels.iter().enumerate().map(|(number, name)| (name.as_str(), number)).collect();
    let videos = entries.into_iter().map(|(path, class)| {
        let label = match &class {
            Class::Named(name) => numbers.get(name.as_str()).copied(),
            Class::Numbered(number) => Some(*number).filter(|number| *number < labels.len()),
        };
        let label = label.ok_or_else(|| {
            let class = match class {
                Class::Named(name) => format!("{name:?}"),
                Class::Numbered(number) => format!("number {number}"),
            };
            let message = format!(
                "the class of {} is {class}, expected one of the {} labels ({:?}, ...)",
                path.display(),
                labels.len(),
                labels.first()
            );
            wrong(source, message)
        })?;
        Ok((path, label))
    });
    let videos = videos.collect::<Result<_>>()?;
    Ok(Listed { labels, videos })
}

fn named(class: &Class) -> Option<&String> {
    match class {
        Class::Named(name) => Some(name),
        Class::Numbered(_) => None,
    }
}

fn wrong(path: &Path, message: String) -> Error {
    Error::Data { path: path.to_owned(), message }
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(at(path))
}

/// Class names: a JSON list, a JSON map from name to number, or lines. The lines of Something-Something V1's file are
/// sorted, as TSM's list maker does: the published code's numbers depend on it.
///
/// # Errors
/// [`Error::File`] or [`Error::Data`] naming the file and what was expected.
pub fn read_labels(path: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Number(usize),
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Labels {
        List(Vec<String>),
        Map(BTreeMap<String, Number>),
    }
    let text = text(path)?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension != Some("json") {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.retain(|line| !line.is_empty());
        if extension == Some("csv") {
            lines.sort();
        }
        return Ok(lines);
    }
    let labels = serde_json::from_str(&text).map_err(|error| {
        wrong(path, format!("is neither a list of names nor a map from name to number ({error})"))
    })?;
    let map = match labels {
        Labels::List(names) => return Ok(names),
        Labels::Map(map) => map,
    };
    let mut names = vec![None; map.len()];
    for (name, number) in map {
        let number = match number {
            Number::Text(text) => text.parse().unwrap_or(usize::MAX),
            Number::Number(number) => number,
        };
        let count = names.len();
        let place = names.get_mut(number).filter(|place| place.is_none()).ok_or_else(|| {
            wrong(path, format!("the number of {name:?} is not one of 0 to {}, each once", count - 1))
        })?;
        *place = Some(name);
    }
    Ok(names.into_iter().flatten().collect())
}

/// What a folder holds, by name, without hidden files.
fn inside(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if !path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_video(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_dir() || extension.is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

fn class_folders(folder: &Path) -> Result<Vec<(PathBuf, Class)>> {
    let mut entries = Vec::new();
    for class in inside(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let videos = inside(&class)?.into_iter().filter(|path| is_video(path));
        entries.extend(videos.map(|path| (path, Class::Named(name.clone()))));
    }
    Ok(entries)
}

fn hmdb(folder: &Path, splits: &Path, split: Split) -> Result<Vec<(PathBuf, Class)>> {
    let part = match split {
        Split::Train => "1",
        Split::Test => "2",
    };
    let mut entries = Vec::new();
    for path in inside(splits)? {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(class) = file.strip_suffix("_test_split1.txt") else { continue };
        for (number, line) in text(&path)?.lines().enumerate() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                [] => {}
                [video, flag] if ["0", "1", "2"].contains(flag) => {
                    if *flag == part {
                        entries.push((folder.join(class).join(video), Class::Named(class.to_owned())));
                    }
                }
                _ => {
                    return Err(wrong(
                        &path,
                        format!("line {} is {line:?}, expected a file and 0, 1 or 2", number + 1),
                    ));
                }
            }
        }
    }
    if entries.is_empty() {
        return Err(wrong(splits, "has no CLASS_test_split1.txt, expected HMDB51's lists".into()));
    }
    Ok(entries)
}

fn listed(folder: &Path, list: &Path) -> Result<Vec<(PathBuf, Class)>> {
    let text = text(list)?;
    match list.extension().and_then(|extension| extension.to_str()) {
        Some("json") => something_v2(folder, list, &text),
        Some("csv") if text.lines().next().is_some_and(|line| line.contains(';')) => {
            lines(list, &text, 1, "ID;CLASS", |line| {
                let (id, class) = line.split_once(';')?;
                Some((folder.join(id), Class::Named(class.trim().to_owned())))
            })
        }
        Some("csv") => kinetics(folder, list, &text),
        _ => lines(list, &text, 1, "PATH FRAMES LABEL", |line| {
            // A path may hold blanks.
            let (rest, label) = line.rsplit_once(char::is_whitespace)?;
            let (path, frames) = rest.trim_end().rsplit_once(char::is_whitespace)?;
            frames.parse::<usize>().ok()?;
            Some((folder.join(path.trim_end()), Class::Numbered(label.parse().ok()?)))
        }),
    }
}

fn lines(
    list: &Path,
    text: &str,
    first: usize,
    expected: &str,
    read: impl Fn(&str) -> Option<(PathBuf, Class)>,
) -> Result<Vec<(PathBuf, Class)>> {
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    filled
        .map(|(number, line)| {
            read(line.trim()).ok_or_else(|| {
                wrong(list, format!("line {} is {line:?}, expected {expected}", number + first))
            })
        })
        .collect()
}

fn something_v2(folder: &Path, list: &Path, text: &str) -> Result<Vec<(PathBuf, Class)>> {
    /// An entry has more keys than these.
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        template: Option<String>,
        label: Option<String>,
    }
    let entries: Vec<Entry> = serde_json::from_str(text)
        .map_err(|error| wrong(list, format!("is no list of {{\"id\", \"template\"}} ({error})")))?;
    let entries = entries.into_iter().map(|Entry { id, template, label }| {
        // "Holding [something]" is the class "Holding something".
        let class = template.or(label).map(|class| class.replace(['[', ']'], "")).ok_or_else(|| {
            wrong(list, format!("{id:?} has no \"template\" and no \"label\"; test lists have none"))
        })?;
        Ok((found(folder, &id), Class::Named(class)))
    });
    entries.collect()
}

fn kinetics(folder: &Path, list: &Path, text: &str) -> Result<Vec<(PathBuf, Class)>> {
    let header = text.lines().next().unwrap_or_default();
    let column = |name: &str| {
        header.split(',').position(|found| found.trim_matches('"') == name).ok_or_else(|| {
            let message =
                format!("its header {header:?} has no {name}, expected label,youtube_id,time_start,time_end");
            wrong(list, message)
        })
    };
    let columns = [column("label")?, column("youtube_id")?, column("time_start")?, column("time_end")?];
    let rows = text.split_once('\n').map_or("", |(_, rows)| rows);
    lines(list, rows, 2, "what the header says", |line| {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
        let [label, id, start, end] = columns.map(|column| fields.get(column).copied());
        let secs = |field: Option<&str>| Some(field?.parse::<f64>().ok()? as usize);
        let name = format!("{}_{:06}_{:06}", id?, secs(start)?, secs(end)?);
        let label = label?;
        // Some copies have a folder a class.
        let places = [folder.join(label), folder.join(label.replace(' ', "_")), folder.to_owned()];
        let place = places.iter().find(|place| found(place, &name).exists()).unwrap_or(&places[2]);
        Some((found(place, &name), Class::Named(label.to_owned())))
    })
}

/// The video of this name, with the extension that it has there; without one where it is absent.
fn found(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    let with = |extension| folder.join(format!("{name}.{extension}"));
    EXTENSIONS.into_iter().map(with).find(|path| path.exists()).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of empty files; those that end with a slash are folders.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            if name.ends_with('/') {
                std::fs::create_dir_all(path).unwrap();
            } else {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        folder
    }

    /// Paths below the folder, with their classes.
    fn videos(
        folder: &Path,
        list: Option<&str>,
        labels: Option<&str>,
        split: Split,
    ) -> Vec<(String, String)> {
        let place = |name: &str| folder.join(name);
        let labels = labels.map(|name| read_labels(&place(name)).unwrap());
        let listed = read(&place("set"), list.map(place).as_deref(), labels, split).unwrap();
        let named = listed.videos.into_iter().map(|(path, label)| {
            let path = path.strip_prefix(place("set")).unwrap().to_str().unwrap().to_owned();
            (path, listed.labels[label].clone())
        });
        named.collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(path, class)| ((*path).to_owned(), (*class).to_owned())).collect()
    }

    #[test]
    fn something_something_v1_sorts_its_labels() {
        let folder = folder(&[
            ("set/7/", ""),
            ("train.csv", "7;Turning something\n9;Closing something\n"),
            ("labels.csv", "Turning something\nClosing something\n"),
        ]);
        let found = videos(folder.path(), Some("train.csv"), Some("labels.csv"), Split::Train);
        assert_eq!(found, pairs(&[("7", "Turning something"), ("9", "Closing something")]));
        let labels = read_labels(&folder.path().join("labels.csv")).unwrap();
        assert_eq!(labels, ["Closing something", "Turning something"]);
    }

    #[test]
    fn something_something_v2_has_brackets_and_webm() {
        let list = r#"[{"id": "3", "label": "holding cup", "template": "Holding [something]", "placeholders": ["cup"]}]"#;
        let folder = folder(&[
            ("set/3.webm", ""),
            ("train.json", list),
            ("labels.json", r#"{"Holding something": "1", "Closing something": "0"}"#),
        ]);
        let found = videos(folder.path(), Some("train.json"), Some("labels.json"), Split::Train);
        assert_eq!(found, pairs(&[("3.webm", "Holding something")]));
        let labels = read_labels(&folder.path().join("labels.json")).unwrap();
        assert_eq!(labels, ["Closing something", "Holding something"]);
    }

    #[test]
    fn kinetics_videos_lie_in_class_folders_or_not() {
        let folder = folder(&[
            ("set/flying kite/abc_000003_000013.mp4", ""),
            ("set/x_y_000000_000010.mkv", ""),
            (
                "train.csv",
                "label,youtube_id,time_start,time_end,split\n\"flying kite\",abc,3,13,train\nyoga,x_y,0,10,train\n",
            ),
        ]);
        let found = videos(folder.path(), Some("train.csv"), None, Split::Train);
        let kite = ("flying kite/abc_000003_000013.mp4", "flying kite");
        assert_eq!(found, pairs(&[kite, ("x_y_000000_000010.mkv", "yoga")]));
    }

    #[test]
    fn hmdb_has_lists_a_class() {
        let folder = folder(&[
            ("set/wave/a b.avi", ""),
            ("splits/wave_test_split1.txt", "a.avi 1 \nb.avi 2 \nc.avi 0 \n"),
            ("splits/wave_test_split2.txt", "b.avi 1 \n"),
        ]);
        assert_eq!(
            videos(folder.path(), Some("splits"), None, Split::Train),
            pairs(&[("wave/a.avi", "wave")])
        );
        assert_eq!(
            videos(folder.path(), Some("splits"), None, Split::Test),
            pairs(&[("wave/b.avi", "wave")])
        );
    }

    #[test]
    fn a_folder_of_class_folders_needs_no_list() {
        let folder =
            folder(&[("set/b/1.mp4", ""), ("set/a/2.avi", ""), ("set/a/3/", ""), ("set/a/notes.txt", "")]);
        let found = videos(folder.path(), None, None, Split::Train);
        assert_eq!(found, pairs(&[("a/2.avi", "a"), ("a/3", "a"), ("b/1.mp4", "b")]));
    }

    #[test]
    fn tsms_lists_have_numbers() {
        let folder = folder(&[("list.txt", "some folder/7 48 1\n"), ("names.txt", "one\ntwo\n")]);
        let found = videos(folder.path(), Some("list.txt"), Some("names.txt"), Split::Train);
        assert_eq!(found, pairs(&[("some folder/7", "two")]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = folder(&[
            ("set/", ""),
            ("bad.txt", "7 48 1\n7 many 1\n"),
            ("far.txt", "7 48 3\n"),
            ("names.txt", "one\ntwo\n"),
            ("twice.json", r#"{"a": 0, "b": "0"}"#),
            ("no.csv", "label,id\n"),
            ("strange.csv", "7;Flying\n"),
        ]);
        let place = |name: &str| folder.path().join(name);
        for (list, labels, said) in [
            (None, None, "names no video"),
            (Some("bad.txt"), Some("names.txt"), "line 2 is \"7 many 1\", expected PATH FRAMES LABEL"),
            (Some("far.txt"), Some("names.txt"), "number 3, expected one of the 2 labels"),
            (Some("far.txt"), None, "say which file names them"),
            (Some("strange.csv"), Some("twice.json"), "each once"),
            (Some("strange.csv"), Some("names.txt"), "\"Flying\", expected one of the 2 labels"),
            (Some("no.csv"), None, "has no youtube_id"),
            (Some("absent.txt"), None, "absent.txt"),
        ] {
            let labels = labels.map(|name| read_labels(&place(name))).transpose();
            let read = labels
                .and_then(|labels| read(&place("set"), list.map(place).as_deref(), labels, Split::Train));
            let message = read.unwrap_err().to_string();
            assert!(message.contains(said), "{list:?}: {message}");
        }
    }
}
