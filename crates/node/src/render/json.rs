//! `--json`: one object a line on stdout, flushed at once; notices and errors
//! as objects on stderr (README, the commands).

use std::fmt::Write as _;
use std::io::{self, Write};

use peerage_content::name::escape;
use serde::Serialize;

use super::Render;
use crate::api::{Event, Failure};

/// The renderer of `--json`.
#[derive(Debug)]
pub(crate) struct Json;

/// `value` on one line. Values stay exact, but nothing in them reaches a
/// terminal raw: what JSON would let pass is written as `\uXXXX`.
pub(crate) fn to_line<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).expect("our types have string keys and no failing parts");
    let mut line = String::with_capacity(json.len() + 1);
    let mut buffer = [0; 4];
    for c in json.chars() {
        // All of these are inside strings: outside, JSON is plain ASCII.
        if c == '\\' || escape(c.encode_utf8(&mut buffer)).len() == c.len_utf8() {
            line.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").expect("a String takes all that is written");
            }
        }
    }
    line.push('\n');
    line
}

/// How an error looks on stderr.
#[derive(Serialize)]
struct ErrorLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    failure: &'a Failure,
}

impl Render for Json {
    fn event(&mut self, event: Event, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        match event {
            // `ready` is to be the first line of a share, the last root the last of an add.
            Event::Importing { .. } | Event::Unknown => Ok(()),
            Event::Notice { .. } => {
                drop(err.write_all(to_line(&event).as_bytes()));
                Ok(())
            }
            event => {
                out.write_all(to_line(&event).as_bytes())?;
                out.flush()
            }
        }
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.flush()
    }

    fn failure(&mut self, failure: &Failure, err: &mut dyn Write) {
        drop(err.write_all(to_line(&ErrorLine { event: "error", failure }).as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Kind, NoticeKind};

    #[test]
    fn stdout_has_events_and_stderr_the_rest() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut json = Json;
        for event in [
            Event::Importing { bytes: 1, total: None, files: 0 },
            Event::notice(NoticeKind::Changed, "a changed"),
            Event::Closed { sent_bytes: 1, received_bytes: 2 },
        ] {
            json.event(event, &mut out, &mut err).unwrap();
        }
        json.failure(&Failure::new(Kind::NotFound, "nobody has it"), &mut err);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"event\":\"closed\",\"sent_bytes\":1,\"received_bytes\":2}\n"
        );
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "{\"event\":\"notice\",\"kind\":\"changed\",\"message\":\"a changed\"}\n\
             {\"event\":\"error\",\"kind\":\"not_found\",\"message\":\"nobody has it\"}\n"
        );
    }

    #[test]
    fn values_are_exact_and_safe_to_look_at() {
        let nasty = "a\n\u{1b}[2J\u{9b}\u{202e}\u{7f}\\\"\u{e0001}é";
        let line = to_line(&nasty);
        assert_eq!(line.trim_end(), r#""a\n\u001b[2J\u009b\u202e\u007f\\\"\udb40\udc01é""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), nasty);
    }
}
