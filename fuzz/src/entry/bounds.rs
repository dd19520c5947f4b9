//! Bounds of each message, written down a second time: `Message::check` is what is tested here.

use fdbroker_broker::audit_link::BrokerToAuditor;
use fdbroker_broker::dispatch_link::{BrokerToDispatcher, DispatcherToBroker};
use fdbroker_broker::reader_link::ReaderToDispatcher;
use fdbroker_broker::record_link::{AuditorToOpener, Note, OpenerToAuditor};
use fdbroker_broker::root::settings::{Mode, Settings};
use fdbroker_common::admin_link::{AdminReply, AdminRequest};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, Report};
use fdbroker_common::job_link::{Answer, Finding, OpenerToWorker, WorkerToOpener};
use fdbroker_common::lease_link::{DispatcherToOpener, OpenerToDispatcher};
use fdbroker_common::opener_link::{BrokerToOpener, Identity, OpenerToBroker};
use fdbroker_common::outcome::Outcome;
use fdbroker_common::scanner_link::{
    BrokerToSupervisor, BrokerToTemplate, SupervisorToBroker, TemplateToBroker,
};

/// Numbers as docs/protocol.md has them, not as the code calls them.
pub trait Bounds {
    /// Fails unless everything is within its bounds. By default there are none but those of the types.
    fn assert_within(&self) {}
}

impl Bounds for AdminRequest {}
impl Bounds for AuditorToOpener {}
impl Bounds for BrokerToAuditor {}
impl Bounds for BrokerToDispatcher {}
impl Bounds for BrokerToSupervisor {}
impl Bounds for DispatcherToOpener {}
impl Bounds for OpenerToBroker {}
impl Bounds for SupervisorToBroker {}

impl Bounds for ClientToOpener {
    fn assert_within(&self) {
        match self {
            Self::Start(options) => {
                assert!(options.excludes.len() <= 256);
                assert!(options.excludes.iter().all(|pattern| pattern.len() <= 1024));
            }
            Self::Targets(targets) | Self::PathTargets(targets) => {
                assert!((1..=64).contains(&targets.len()));
                assert!(targets.iter().all(|target| target.name.len() <= 40_960));
            }
            Self::End | Self::Waiting => {}
        }
    }
}

impl Bounds for OpenerToClient {
    fn assert_within(&self) {
        let reports: Vec<&Report> = match self {
            Self::Reports(reports) => reports.iter().collect(),
            Self::Detailed(reports) => {
                for (_, details) in reports {
                    assert!(details.rules.len() <= 1024 && details.matches.len() <= 64);
                    let data = details.matches.iter().filter_map(|found| found.data.as_ref());
                    assert!(data.map(|data| data.len()).all(|data| data <= 64));
                    let counts =
                        details.rules.iter().map(|it| it.tags.len().max(it.metadata.len()));
                    assert!(counts.max() <= Some(64));
                }
                reports.iter().map(|(report, _)| report).collect()
            }
            _ => return,
        };
        assert!((1..=512).contains(&reports.len()));
        for report in reports {
            assert!(report.path.len() <= 40_960);
            if let Outcome::Match { rules } = &report.outcome {
                assert!((1..=1024).contains(&rules.len()));
            }
        }
    }
}

impl Bounds for OpenerToWorker {
    fn assert_within(&self) {
        let (Self::Scan(jobs) | Self::Examine(_, jobs)) = self;
        assert!((1..=64).contains(&jobs.len()));
        let mut names = jobs.iter().filter_map(|job| job.name.as_ref());
        assert!(names.all(|name| name.len() <= 40_960));
    }
}

impl Bounds for WorkerToOpener {
    fn assert_within(&self) {
        let answers: Vec<&Answer> = match self {
            Self::Ready(_) => return,
            Self::Answers(answers) => answers.iter().collect(),
            Self::Examined(answers) => {
                for place in answers.iter().flat_map(|examined| &examined.evidence.places) {
                    assert!(place.pattern < 1024 && place.data.len() <= 64);
                    assert!(place.data.len() as u64 <= place.length);
                }
                assert!(answers.iter().all(|examined| examined.evidence.places.len() <= 64));
                answers.iter().map(|examined| &examined.answer).collect()
            }
        };
        assert!((1..=253).contains(&answers.len()));
        for answer in answers {
            if let Finding::Match(rules) = &answer.finding {
                assert!((1..=1024).contains(&rules.len()));
                assert!(rules.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
}

impl Bounds for BrokerToOpener {
    fn assert_within(&self) {
        match self {
            Self::Groups(groups) => assert!((1..=8192).contains(&groups.len())),
            Self::Trees(grant) => assert!(!grant.trees.is_empty()),
            Self::Become { identity, .. } => match identity {
                Identity::Caller { uid, .. }
                | Identity::ReadAll { uid }
                | Identity::Granted { uid } => assert_ne!(*uid, 0),
                Identity::Unchanged => {}
            },
            Self::Serve => {}
        }
    }
}

impl Bounds for Settings {
    fn assert_within(&self) {
        match self.mode {
            Mode::System { scanner: (uid, gid), reader_uid, granted_uid } => {
                let [dispatcher, auditor] =
                    [self.plan.uid, self.auditor].map(|uid| uid.expect("one"));
                let ours = [reader_uid, granted_uid, dispatcher, auditor];
                assert!(ours.iter().all(|own| (65_520..=65_531).contains(own) && *own != uid));
                let apart: std::collections::BTreeSet<u32> = ours.into_iter().collect();
                assert_eq!(apart.len(), ours.len());
                assert!(uid != 0 && gid != 0 && self.plan.scanner_uid == uid);
            }
            Mode::Personal { uid } => assert!(uid != 0 && self.plan.scanner_uid == uid),
        }
    }
}

impl Bounds for OpenerToAuditor {
    fn assert_within(&self) {
        let Self::Notes(notes) = self;
        assert!((1..=64).contains(&notes.len()));
        for note in notes {
            if let Note::Target(object, _) | Note::File { object, .. } = note {
                assert!(object.name.len() <= 4096);
            }
            if let Note::File { outcome: Outcome::Match { rules }, unnamed, .. } = note {
                assert!((1..=32).contains(&rules.len()));
                assert!(rules.iter().all(|rule| rule.len() <= 128));
                assert!(*unnamed <= 1024);
            }
        }
    }
}

impl Bounds for OpenerToDispatcher {
    fn assert_within(&self) {
        if let Self::Want(workers) = self {
            assert!(*workers <= 256);
        }
    }
}

impl Bounds for BrokerToTemplate {
    fn assert_within(&self) {
        if let Self::Rules(names) = self {
            assert!((1..=64).contains(&names.len()));
            assert!(names.iter().all(|name| (1..=255).contains(&name.len())));
        }
    }
}

impl Bounds for TemplateToBroker {
    fn assert_within(&self) {
        match self {
            Self::Ready { rules, .. } => assert!((1..=1_000_000).contains(rules)),
            Self::Rejected { reason } => assert!(reason.len() <= 4096),
            Self::Worker { .. } | Self::Exited { .. } => {}
        }
    }
}

impl Bounds for AdminReply {
    fn assert_within(&self) {
        match self {
            Self::Status(status) => {
                assert!(status.openers.len() <= 256);
                assert!(status.last_error.len() <= 8192);
            }
            Self::ReloadFailed { reason } => assert!(reason.len() <= 4096),
            Self::Reloaded { .. } | Self::Probed(_) | Self::NotProbed => {}
        }
    }
}

impl Bounds for DispatcherToBroker {
    fn assert_within(&self) {
        if let Self::Fail(reason) = self {
            assert!(reason.len() <= 4096);
        }
    }
}

impl Bounds for ReaderToDispatcher {
    fn assert_within(&self) {
        match self {
            Self::Rules(names) => {
                assert!((1..=64).contains(&names.len()));
                assert!(names.iter().all(|name| name.len() <= 255));
            }
            Self::Failed(reason) => assert!(reason.len() <= 4096),
            Self::End | Self::Watch => {}
        }
    }
}
