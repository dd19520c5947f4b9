//! One value of a configuration file: its type and range, by the kind of its key. Pure.

use std::path::{Component, Path};

use toml::Spanned;
use toml::de::DeValue;

use super::problem::{Place, Problem};
use super::schema::Kind;
use super::source::Source;

/// Most entries of a list.
const ITEMS_MAX: usize = 4096;

/// Something, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// What.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// A value of the right type and within its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Number`] and [`Kind::Size`].
    Number(u64),
    /// Of [`Kind::Text`], [`Kind::Word`] and [`Kind::WordOrPath`].
    Text(String),
    /// Of [`Kind::Names`] and [`Kind::Paths`]; numbers as they are written.
    List(Vec<At<String>>),
}

/// Reads a value; `what` is how the key is called.
///
/// # Errors
/// What is wrong, and what belongs there.
pub fn read(
    kind: Kind,
    what: &str,
    value: &Spanned<DeValue<'_>>,
    source: &Source,
) -> Result<Value, Problem> {
    let place = Place::new(source, value.span().start);
    let wrong = || {
        let found = value.get_ref().type_str();
        place.problem(format_args!(
            "`{what}` takes {}, not {} {found}",
            kind.wants(),
            article(found)
        ))
    };
    let range = || place.problem(format_args!("`{what}` takes {}", kind.wants()));
    match (kind, value.get_ref()) {
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
        (Kind::Number(max) | Kind::Size(max), DeValue::Integer(number)) => {
            let number = u64::from_str_radix(number.as_str(), number.radix());
            within(number.ok(), max).map(Value::Number).map_err(|why| match why {
                Range::Zero => place.problem(format_args!("`{what}` is at least 1")),
                Range::Above => above(&place, kind, what, max),
            })
        }
        (Kind::Size(max), DeValue::String(text)) => match size(text) {
            Some(number) => within(number, max).map(Value::Number).map_err(|why| match why {
                Range::Zero => place.problem(format_args!("`{what}` is at least 1")),
                Range::Above => above(&place, kind, what, max),
            }),
            None => Err(range()),
        },
        (Kind::Text, DeValue::String(text)) if text.is_empty() || text.contains('\0') => {
            Err(place.problem(format_args!("`{what}` is empty, or has a zero byte in it")))
        }
        (Kind::Text, DeValue::String(text)) => Ok(Value::Text(text.to_string())),
        (Kind::Word(words), DeValue::String(text)) if words.contains(&text.as_ref()) => {
            Ok(Value::Text(text.to_string()))
        }
        (Kind::WordOrPath(words), DeValue::String(text))
            if words.contains(&text.as_ref()) || is_plain(text) =>
        {
            Ok(Value::Text(text.to_string()))
        }
        (Kind::Word(_) | Kind::WordOrPath(_), DeValue::String(_)) => Err(range()),
        (Kind::Names | Kind::Paths, DeValue::Array(items)) if items.len() > ITEMS_MAX => {
            Err(place.problem(format_args!("`{what}` has more than {ITEMS_MAX} entries")))
        }
        (Kind::Names | Kind::Paths, DeValue::Array(items)) => {
            let items = items.iter().map(|item| list_item(kind, what, item, source));
            items.collect::<Result<Vec<_>, _>>().map(Value::List)
        }
        _ => Err(wrong()),
    }
}

enum Range {
    Zero,
    Above,
}

fn within(number: Option<u64>, max: u64) -> Result<u64, Range> {
    match number {
        Some(0) => Err(Range::Zero),
        Some(number) if number <= max => Ok(number),
        _ => Err(Range::Above),
    }
}

fn above(place: &Place, kind: Kind, what: &str, max: u64) -> Problem {
    let unit = if matches!(kind, Kind::Size(_)) { " bytes" } else { "" };
    place.problem(format_args!("`{what}` is an integer from 1 to {max}{unit}"))
}

/// `100`, `10K`, `25M`, `2G`, also `10KB` and `10KiB`: powers of 1024, as `fdscan --max-filesize` takes
/// them. The inner value is none when the number is too large.
fn size(text: &str) -> Option<Option<u64>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).filter(|(number, _)| !number.is_empty())?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    Some(number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)))
}

fn list_item(
    kind: Kind,
    what: &str,
    item: &Spanned<DeValue<'_>>,
    source: &Source,
) -> Result<At<String>, Problem> {
    let place = Place::new(source, item.span().start);
    let value = match (kind, item.get_ref()) {
        (Kind::Names, DeValue::String(name)) if name.is_empty() || name.contains('\0') => {
            return Err(
                place.problem(format_args!("an empty name in `{what}`, or a zero byte in it"))
            );
        }
        (Kind::Names, DeValue::String(name)) => name.to_string(),
        (Kind::Names, DeValue::Integer(number)) => {
            match u32::from_str_radix(number.as_str(), number.radix()) {
                // All ones stands for "nobody" in the kernel's interface.
                Ok(number) if number != u32::MAX => number.to_string(),
                _ => {
                    let max = u32::MAX - 1;
                    let text = format!("a number in `{what}` is from 0 to {max}");
                    return Err(place.problem(text));
                }
            }
        }
        (Kind::Paths, DeValue::String(path)) if is_plain(path) => path.to_string(),
        (Kind::Paths, DeValue::String(path)) => {
            let why = "write an absolute path without `.`, `..`, `//`, or `/` at its end";
            return Err(place.problem(format_args!("`{path}` in `{what}`: {why}")));
        }
        (_, other) => {
            let found = other.type_str();
            let wants = kind.wants();
            let text = format!("`{what}` takes {wants}; {} {found} is none", article(found));
            return Err(place.problem(text));
        }
    };
    Ok(At { value, place })
}

/// Whether a path is absolute and has one way to be written, so that it can be compared as it is.
fn is_plain(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let parsed = Path::new(path);
    parsed.is_absolute()
        && !path.contains('\0')
        && parsed.components().all(plain)
        && parsed.components().collect::<std::path::PathBuf>().as_os_str() == path
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
