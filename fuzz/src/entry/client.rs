//! An opener that says whatever it likes to the client library.

use std::os::unix::net::UnixDatagram;

use fdbroker_common::channel::Channel;
use fdbroker_common::client::{Client, Event, Target};
use fdbroker_common::client_link::{ClientToOpener, OpenerToClient, ScanOptions};
use fdbroker_common::fdpass;
use fdbroker_common::totals::Totals;

use super::packets;

/// How many files the client asks for.
pub const TARGETS: u32 = 3;

/// An opener hears out a scan of three files and then says the packets that follow the first byte, which
/// says whether clean files are to be reported.
pub fn client_scan(data: &[u8]) {
    let Some((omit_clean, data)) = data.split_first() else {
        return;
    };
    let options = ScanOptions { omit_clean: omit_clean % 2 == 1, ..ScanOptions::default() };
    let omit_clean = options.omit_clean;
    let (mut opener, ours) = Channel::<OpenerToClient, ClientToOpener>::pair().expect("a pair");
    let mut client = Client::from_connection(ours).expect("a connection");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !matches!(opener.receive(), Ok((ClientToOpener::End, _)) | Err(_)) {}
            let opener = UnixDatagram::from(opener.into_descriptor());
            for packet in packets(data) {
                if fdpass::send(&opener, packet, &[]).is_err() {
                    break;
                }
            }
        });
        let target = |number| Target::from_bytes(b"four", format!("target-{number}").into_bytes());
        let mut scan = client.scan(options, (0..TARGETS).map(target));
        let (mut reported, mut accepted) = (Totals::default(), false);
        let mut failed = false;
        for event in &mut scan {
            match event {
                Ok(Event::Accepted(_)) => accepted = true,
                Ok(Event::Report(report)) => {
                    assert!(accepted, "no report before the scan was accepted");
                    assert!(report.target < u64::from(TARGETS));
                    let name = format!("target-{}", report.target);
                    assert!(report.path.starts_with(name), "{:?}", report.path);
                    reported.add(&report.outcome, 0);
                }
                Ok(Event::Progress(_) | Event::Interrupted(_) | Event::Resumed) => {}
                Err(_) => failed = true,
            }
        }
        assert_ne!(scan.is_finished(), failed);
        if scan.is_finished() {
            let mut totals = scan.totals();
            totals.bytes = 0;
            if omit_clean {
                totals.clean = reported.clean;
            }
            assert_eq!(totals, reported, "what is counted is what was reported");
        }
    });
}
