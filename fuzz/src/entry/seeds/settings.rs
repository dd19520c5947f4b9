//! What the configuration reader tells the broker, of root's and of a user's own.

use fdbroker_broker::dispatch_link::Plan;
use fdbroker_broker::root::policy::Policy;
use fdbroker_broker::root::settings::{Mode, Settings};
use fdbroker_common::opener_link::{Limits, Subjects};

use super::{Seed, bytes, plan, text, tree_grant};

pub fn seeds() -> Vec<Seed> {
    let name = "configuration_to_broker";
    let plan = plan();
    let limits = Limits { connections: 2, file_deadline_s: 30, ..Limits::default() };
    let subjects = |uid| Subjects { uids: vec![uid], gids: vec![100] };
    let policy = Policy {
        denied: subjects(2001),
        limits: vec![(subjects(2000), limits)],
        grants: vec![tree_grant()],
    };
    let mode = Mode::System { scanner: (65_534, 65_534), reader_uid: 65_531, granted_uid: 65_529 };
    let runtime_dir = Some("/run/fdbroker".into());
    let (auditor, audit) = (Some(65_528), Some(text("plan")));
    let (interpreted, listens, notifies) = (true, true, true);
    let system = Settings {
        mode,
        runtime_dir,
        rules: None,
        plan,
        policy,
        auditor,
        audit,
        interpreted,
        listens,
        notifies,
    };
    let (mode, plan) = (Mode::Personal { uid: 65_534 }, Plan { uid: None, ..plan });
    let rules = Some("/etc/rules".into());
    let (policy, auditor, audit) = (Policy::default(), None, None);
    let (runtime_dir, listens, notifies) = (None, false, false);
    let personal = Settings {
        mode,
        runtime_dir,
        rules,
        plan,
        policy,
        auditor,
        audit,
        interpreted,
        listens,
        notifies,
    };
    vec![(name, "system", bytes(&system)), (name, "personal", bytes(&personal))]
}
