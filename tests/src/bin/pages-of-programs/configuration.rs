//! The manual page and the commented example of the configuration file, from the broker's table of keys.
//! Pure: text to text.

use fdbroker_broker::configuration::schema::{Key, Kind, SECTIONS, Section};

use super::page::{escaped, second_section};

/// Sections in roff; the keys stand behind the first one.
const TEXTS: &str = include_str!("fdbroker.toml.roff");

/// Widest line of the example.
const WIDTH: usize = 92;

const HEAD: &str = "Configuration of fdbroker(8), and the documentation of every key: as it stands here, all of it \
                    is commented out and says what holds without it, or gives an example. More in \
                    fdbroker.toml(5). `fdbroker --check-config` says whether it is right and what is in force. \
                    Files conf.d/*.toml beside this one are read after it, in the order of their names.";

/// fdbroker.toml(5) in roff.
pub fn page() -> String {
    let (description, rest) = TEXTS.split_at(second_section(TEXTS));
    let mut page = format!(
        ".\\\" Written by `make man`, from the broker's table of keys and the texts in\n\
         .\\\" tests/src/bin/pages-of-programs. Change those.\n\
         .TH FDBROKER.TOML 5 \"\" \"fdbroker {}\" fdbroker\n.SH NAME\n\
         fdbroker.toml \\- configuration of fdbroker\n.SH SYNOPSIS\n\
         .I /etc/fdbroker/fdbroker.toml\n.br\n.I /etc/fdbroker/conf.d/*.toml\n{description}.SH KEYS\n",
        env!("CARGO_PKG_VERSION")
    );
    for section in SECTIONS {
        let title =
            if section.name.is_empty() { "Before the first table".into() } else { section.head() };
        page += &format!(".SS {}\n{}\n", escaped(&title), escaped(section.text));
        for key in section.keys {
            page += &format!(".TP\n.BR {} \" ({})\"\n", key.name, escaped(&noun(key.kind)));
            page += &format!("{}\nDefault: {}.\n", escaped(key.text), escaped(default(key)));
        }
    }
    page + rest
}

/// `etc/fdbroker.toml`. A line of prose begins with `# `, one that can be used with `#` alone.
pub fn example() -> String {
    let mut text = wrapped(HEAD);
    for section in SECTIONS {
        text += &head(section);
        for key in section.keys {
            text += &format!("\n{}", wrapped(&format!("{} {}.", key.text, about(key))));
            text += &format!("#{} = {}\n", key.name, key.value);
        }
    }
    text
}

fn head(section: &Section) -> String {
    let rule = format!("\n# {}\n", "-".repeat(WIDTH - 2));
    match section.name {
        "" => String::new(),
        _ if section.repeated => {
            let text = format!("{} May be repeated.", section.text);
            format!("{rule}{}#{}\n", wrapped(&text), section.head())
        }
        _ => format!("{rule}{}#{}\n", wrapped(section.text), section.head()),
    }
}

/// Type and default in one sentence without its full stop.
fn about(key: &Key) -> String {
    format!("Takes {}. Default: {}", key.kind.wants(), default(key))
}

fn default(key: &Key) -> &str {
    if key.default.is_empty() { key.value } else { key.default }
}

fn noun(kind: Kind) -> String {
    match kind {
        Kind::Flag => "boolean".into(),
        Kind::Number(max) if max >= u32::MAX.into() => "integer".into(),
        Kind::Number(max) => format!("integer from 1 to {max}"),
        Kind::Size(_) => "integer, or string like 100M".into(),
        Kind::Text => "string".into(),
        Kind::Word(words) => words.join(" or "),
        Kind::WordOrPath(words) => format!("{} or a path", words.join(", ")),
        Kind::Names => "list of names and numbers".into(),
        Kind::Paths => "list of absolute paths".into(),
    }
}

/// Lines of prose behind `# `.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let full =
            lines.last().is_none_or(|line| line.len() + 1 + word.len() > WIDTH && line != "#");
        if full {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            *line += &format!(" {word}");
        }
    }
    lines.join("\n") + "\n"
}
