//! Progress bars on stderr, only where that is a terminal: one for the
//! command, and for a share one for each peer.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Most peers with a bar of their own. 16: what fits on a screen.
const PEERS_SHOWN: usize = 16;

/// A line of 80 columns has room for the message: who, and by which path.
const TOTAL_KNOWN: &str =
    "{bar:12} {decimal_bytes:>9} of {decimal_total_bytes} {decimal_bytes_per_sec:>11} {eta:>4} {wide_msg}";
const TOTAL_UNKNOWN: &str = "{decimal_bytes:>9} {decimal_bytes_per_sec:>11} {wide_msg}";

/// The bars of one command.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    main: Option<ProgressBar>,
    peers: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Bars, if stderr is a terminal.
    pub(super) fn for_terminal() -> Option<Self> {
        std::io::stderr().is_terminal().then(|| Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            main: None,
            peers: BTreeMap::new(),
        })
    }

    /// Moves the main bar. `message` is safe to print.
    pub(super) fn advance(&mut self, bytes: u64, total: Option<u64>, message: String) {
        let bar = self.main.get_or_insert_with(|| self.all.add(ProgressBar::no_length()));
        match total {
            Some(total) if bar.length() != Some(total) => {
                bar.set_style(style(TOTAL_KNOWN));
                bar.set_length(total);
                // The rate counts from here, not from what was there already.
                bar.set_position(bytes);
                bar.tick();
                bar.reset_eta();
            }
            Some(_) => {}
            None => bar.set_style(style(TOTAL_UNKNOWN)),
        }
        bar.set_message(message);
        bar.set_position(bytes);
    }

    /// Says what goes on while nothing can be counted.
    pub(super) fn spin(&mut self, message: String) {
        let bar = self.main.get_or_insert_with(|| self.all.add(ProgressBar::no_length()));
        if bar.position() == 0 {
            bar.set_style(style("{spinner} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar.set_message(message);
    }

    /// Moves the bar of a peer that is being served. `message` is safe to print.
    pub(super) fn peer(&mut self, peer: &str, bytes: u64, total: Option<u64>, message: String) {
        if !self.peers.contains_key(peer) {
            if self.peers.len() >= PEERS_SHOWN {
                return;
            }
            let bar = self.all.add(ProgressBar::no_length());
            bar.set_style(style(TOTAL_UNKNOWN));
            self.peers.insert(peer.to_owned(), bar);
        }
        if let Some(bar) = self.peers.get(peer) {
            if total.is_some() && bar.length() != total {
                bar.set_style(style(TOTAL_KNOWN));
                bar.set_length(total.unwrap_or(0));
            }
            bar.set_message(message);
            bar.set_position(bytes);
        }
    }

    /// Removes a peer's bar.
    pub(super) fn peer_done(&mut self, peer: &str) {
        if let Some(bar) = self.peers.remove(peer) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    /// Removes the main bar.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.main.take() {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    /// Removes all bars.
    pub(super) fn clear_all(&mut self) {
        self.clear();
        while let Some((_, bar)) = self.peers.pop_first() {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    /// Runs `print` with the bars out of its way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("a template that is part of this program")
        .progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_sound() {
        let mut bars = Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            main: None,
            peers: BTreeMap::new(),
        };
        bars.spin("looking".into());
        bars.advance(1, None, String::new());
        bars.advance(1, Some(2), String::new());
        for peer in 0..2 * PEERS_SHOWN {
            bars.peer(&peer.to_string(), 1, None, String::new());
            bars.peer(&peer.to_string(), 1, Some(2), String::new());
        }
        assert_eq!(bars.peers.len(), PEERS_SHOWN);
        bars.peer_done("1");
        bars.clear_all();
        assert!(bars.peers.is_empty() && bars.main.is_none());
    }
}
