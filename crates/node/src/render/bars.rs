//! Progress bars on stderr, only where that is a terminal: one for the
//! command, and for a share one for each peer.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::{bytes as size, seconds};
use crate::meter::Meter;

/// Most peers with a bar of their own. 16: what fits on a screen.
const PEERS_SHOWN: usize = 16;

/// Columns of a terminal in which the bar itself has room beside the figures, and the
/// message (who, and by which path) beside both.
const BAR_COLUMNS: u16 = 72;

/// Columns in which rate and time left have room beside how much there is.
const RATE_COLUMNS: u16 = 48;

/// What a line shows, by the width of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Wide,
    Medium,
    Narrow,
}

impl Layout {
    fn of(columns: u16) -> Self {
        match columns {
            BAR_COLUMNS.. => Self::Wide,
            RATE_COLUMNS.. => Self::Medium,
            _ => Self::Narrow,
        }
    }

    /// Of stderr now; the user may make it smaller.
    fn now() -> Self {
        rustix::termios::tcgetwinsize(io::stderr()).map_or(Self::Wide, |window| Self::of(window.ws_col))
    }

    const fn template(self, total_known: bool) -> &'static str {
        match (self, total_known) {
            (Self::Wide, true) => "{bar:12} {decimal_bytes:>9} of {decimal_total_bytes} {prefix} {wide_msg}",
            (Self::Medium, true) => "{decimal_bytes:>9} of {decimal_total_bytes} {prefix}",
            (Self::Narrow, true) => "{percent:>3}% of {decimal_total_bytes}",
            (Self::Wide | Self::Medium, false) => "{decimal_bytes:>9} {prefix} {wide_msg}",
            (Self::Narrow, false) => "{decimal_bytes:>9} {wide_msg}",
        }
    }
}

/// One bar.
#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    meter: Meter,
    /// The style that it has: layout, and whether the total is known.
    style: Option<(Layout, bool)>,
}

impl Line {
    fn new(all: &MultiProgress) -> Self {
        Self { bar: all.add(ProgressBar::no_length()), meter: Meter::default(), style: None }
    }

    fn advance(&mut self, bytes: u64, total: Option<u64>, message: String) {
        self.meter.count(bytes, Instant::now());
        let style = (Layout::now(), total.is_some());
        if self.style.replace(style) != Some(style) {
            self.bar.set_style(template(style.0.template(style.1)));
        }
        if let Some(total) = total.filter(|total| self.bar.length() != Some(*total)) {
            self.bar.set_length(total);
        }
        self.bar.set_prefix(speed(&self.meter, total));
        self.bar.set_message(message);
        self.bar.set_position(bytes);
    }

    fn remove(self, all: &MultiProgress) {
        self.bar.finish_and_clear();
        all.remove(&self.bar);
    }
}
/// What a line shows that counts things.
const COUNTED: &str = "{bar:24} {pos} of {len}  {wide_msg}";

/// The bars of one command.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    main: Option<Line>,
    peers: BTreeMap<String, Line>,
}

impl Bars {
    /// Bars, if stderr is a terminal.
    pub(super) fn for_terminal() -> Option<Self> {
        io::stderr().is_terminal().then(|| Self::on(ProgressDrawTarget::stderr()))
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self { all: MultiProgress::with_draw_target(target), main: None, peers: BTreeMap::new() }
    }

    /// Moves the main bar. `message` is safe to print.
    pub(super) fn advance(&mut self, bytes: u64, total: Option<u64>, message: String) {
        let line = self.main.get_or_insert_with(|| Line::new(&self.all));
        line.advance(bytes, total, message);
    }

    /// Moves the main bar, which counts things. `message` is safe to print.
    pub(super) fn count(&mut self, done: u64, total: u64, message: String) {
        let Line { bar, .. } = self.main.get_or_insert_with(|| Line::new(&self.all));
        bar.set_style(template(COUNTED));
        bar.set_length(total);
        bar.set_message(message);
        bar.set_position(done);
    }

    /// Says what goes on while nothing can be counted.
    pub(super) fn spin(&mut self, message: String) {
        let line = self.main.get_or_insert_with(|| Line::new(&self.all));
        if line.bar.position() == 0 {
            line.style = None;
            line.bar.set_style(template("{spinner} {wide_msg}"));
            line.bar.enable_steady_tick(Duration::from_millis(120));
        }
        line.bar.set_message(message);
    }

    /// Moves the bar of a peer that is being served. `message` is safe to print.
    pub(super) fn peer(&mut self, peer: &str, bytes: u64, total: Option<u64>, message: String) {
        if !self.peers.contains_key(peer) {
            if self.peers.len() >= PEERS_SHOWN {
                return;
            }
            self.peers.insert(peer.to_owned(), Line::new(&self.all));
        }
        if let Some(line) = self.peers.get_mut(peer) {
            line.advance(bytes, total, message);
        }
    }

    /// Removes a peer's bar.
    pub(super) fn peer_done(&mut self, peer: &str) {
        if let Some(line) = self.peers.remove(peer) {
            line.remove(&self.all);
        }
    }

    /// Removes the main bar.
    pub(super) fn clear(&mut self) {
        if let Some(line) = self.main.take() {
            line.remove(&self.all);
        }
    }

    /// Removes all bars.
    pub(super) fn clear_all(&mut self) {
        self.clear();
        while let Some((_, line)) = self.peers.pop_first() {
            line.remove(&self.all);
        }
    }

    /// Runs `print` with the bars out of its way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }
}

/// Rate and time left, as far as they mean something.
fn speed(meter: &Meter, total: Option<u64>) -> String {
    let Some(rate) = meter.rate() else { return String::new() };
    let left = total.and_then(|total| meter.left(total)).filter(|left| !left.is_zero());
    let left = left.map(|left| format!(", {} left", seconds(left.as_secs_f64())));
    format!("{}/s{}", size(rate), left.unwrap_or_default())
}

fn template(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("a template that is part of this program")
        .progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_sound() {
        let mut bars = Bars::on(ProgressDrawTarget::hidden());
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
        for columns in [0, 20, 47, 48, 71, 72, 200] {
            for known in [false, true] {
                template(Layout::of(columns).template(known));
            }
        }
    }

    #[test]
    fn rate_and_time_left_are_told_once_they_mean_something() {
        let begun = Instant::now();
        let mut meter = Meter::default();
        meter.count(0, begun);
        assert_eq!(speed(&meter, Some(10)), "");
        meter.count(4_000_000, begun + Duration::from_secs(2));
        assert_eq!(speed(&meter, None), "2.0 MB/s");
        assert_eq!(speed(&meter, Some(24_000_000)), "2.0 MB/s, 10 s left");
        assert_eq!(speed(&meter, Some(4_000_000)), "2.0 MB/s");
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let known = |columns| Layout::of(columns).template(true);
        assert!(known(80).contains("{bar") && known(80).contains("{wide_msg}"));
        assert!(!known(60).contains("{bar") && known(60).contains("{prefix}"));
        assert!(!known(30).contains("{prefix}") && known(30).contains("{percent"));
    }
}
