//! An explanation as text and as JSON. Names that others chose are escaped or encoded here.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fdbroker_common::explanation::{Kind, Reach, Rule, Step};
use fdbroker_common::outcome::Failure;
use serde::Serialize;

use super::{Answer, Explanation, path_of};
use crate::output::{PathObject, name, path_object, write_line};

#[derive(Serialize)]
struct Object<'a> {
    version: u32,
    uid: u32,
    gid: u32,
    groups: &'a [u32],
    path: PathObject<'a>,
    rule: &'static str,
    rule_at: Option<&'a str>,
    limits: Option<&'a str>,
    limits_at: Option<&'a str>,
    steps: Vec<StepObject<'a>>,
    refused_by: Option<PathObject<'a>>,
    reason: Option<String>,
    grants: Vec<GrantObject<'a>>,
    answer: &'static str,
}

#[derive(Serialize)]
struct StepObject<'a> {
    path: PathObject<'a>,
    kind: &'static str,
    uid: u32,
    gid: u32,
    mode: String,
    target: Option<PathObject<'a>>,
}

#[derive(Serialize)]
struct GrantObject<'a> {
    at: &'a str,
    reach: &'static str,
}

impl Explanation<'_> {
    /// Lines for people.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let judgement = &self.judgement;
        let groups: Vec<String> = judgement.groups.iter().map(u32::to_string).collect();
        let (uid, gid) = (judgement.uid, judgement.gid);
        let user = name(Path::new(self.user));
        writeln!(out, "user    {user}: uid {uid}, gid {gid}, groups {}", groups.join(" "))?;
        let rule = match &judgement.rule {
            Rule::Default => "default: what they can read themselves".to_owned(),
            Rule::Root(_) => "root: everything".to_owned(),
            Rule::Owner => "owner: what they can read themselves".to_owned(),
            Rule::Denied(place) => format!("denied by {place}"),
            Rule::NotServed => "the broker is another user's own".to_owned(),
        };
        writeln!(out, "rule    {rule}")?;
        if let Some((place, limits)) = &judgement.limits {
            writeln!(out, "limits  {limits} ({place})")?;
        }
        let refusing = self.refusing();
        for step in self.walk.iter().flat_map(|walk| &walk.steps) {
            let last = refusing == Some(step.path.as_slice()) && step.kind != Kind::Link;
            writeln!(out, "way     {}{}", line(step), if last { "  <- ends here" } else { "" })?;
        }
        if let Some(reason) = self.reason() {
            writeln!(out, "reason  {reason}")?;
        }
        for (place, reach) in &judgement.grants {
            writeln!(out, "grant   {place}: {}", words(*reach))?;
        }
        let path = name(self.path);
        match self.answer() {
            Answer::Allowed => writeln!(out, "answer  allowed: fdscan {path}"),
            Answer::Granted => writeln!(out, "answer  allowed by a grant: fdscan --granted {path}"),
            Answer::Skipped => writeln!(out, "answer  skipped: not a file of a real file system"),
            Answer::Refused => writeln!(out, "answer  refused"),
        }
    }

    /// One object.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let judgement = &self.judgement;
        let (rule, rule_at) = match &judgement.rule {
            Rule::Default => ("default", None),
            Rule::Root(_) => ("root", None),
            Rule::Owner => ("owner", None),
            Rule::Denied(place) => ("denied", Some(place.as_str())),
            Rule::NotServed => ("not-served", None),
        };
        let limits = judgement.limits.as_ref();
        let steps = self.walk.iter().flat_map(|walk| &walk.steps);
        let grants = judgement.grants.iter();
        let object = Object {
            version: 1,
            uid: judgement.uid,
            gid: judgement.gid,
            groups: &judgement.groups,
            path: path_object(self.path.as_os_str().as_bytes()),
            rule,
            rule_at,
            limits: limits.map(|(_, limits)| limits.as_str()),
            limits_at: limits.map(|(place, _)| place.as_str()),
            steps: steps.map(step_object).collect(),
            refused_by: self.refusing().map(path_object),
            reason: self.reason(),
            grants: grants.map(|(at, reach)| GrantObject { at, reach: word(*reach) }).collect(),
            answer: match self.answer() {
                Answer::Allowed => "allowed",
                Answer::Granted => "granted",
                Answer::Skipped => "skipped",
                Answer::Refused => "refused",
            },
        };
        write_line(out, &object)
    }

    /// Why the way ends before the path, or what is there cannot be read.
    fn reason(&self) -> Option<String> {
        match self.walk.as_ref()?.end {
            Ok(true) => None,
            Ok(false) => Some("they may not read it".to_owned()),
            Err(errno) => Some(Failure::System(errno).to_string()),
        }
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File => "file",
        Kind::Link => "link",
        Kind::Special => "special",
    }
}

fn line(step: &Step) -> String {
    let Step { path, uid, gid, mode, target, .. } = step;
    let head = format!("{} {mode:04o} {uid}:{gid} {}", kind(step.kind), name(path_of(path)));
    if target.is_empty() { head } else { format!("{head} -> {}", name(path_of(target))) }
}

fn step_object(step: &Step) -> StepObject<'_> {
    StepObject {
        path: path_object(&step.path),
        kind: kind(step.kind),
        uid: step.uid,
        gid: step.gid,
        mode: format!("{:04o}", step.mode),
        target: (!step.target.is_empty()).then(|| path_object(&step.target)),
    }
}

fn word(reach: Reach) -> &'static str {
    match reach {
        Reach::Reached(Kind::Special) => "skipped",
        Reach::Reached(_) => "reached",
        Reach::Outside => "outside",
        Reach::Excepted => "excepted",
        Reach::Link => "link",
        Reach::Mount => "mount",
        Reach::HardLinks => "hard-links",
        Reach::Failed(_) => "failed",
    }
}

fn words(reach: Reach) -> String {
    match reach {
        Reach::Reached(Kind::Special) => {
            "reaches it, but it is no file of a real file system".into()
        }
        Reach::Reached(_) => "reaches it".into(),
        Reach::Outside => "it is beneath none of the trees".into(),
        Reach::Excepted => "it is in `except`".into(),
        Reach::Link => "a link is on the way, and links are not followed".into(),
        Reach::Mount => {
            "another file system is mounted on the way; its mount point is no tree".into()
        }
        Reach::HardLinks => "it has several names, and `hard_links` is false".into(),
        Reach::Failed(errno) => Failure::System(errno).to_string(),
    }
}
