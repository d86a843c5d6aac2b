//! The words of JSON (RFC 8259 sections 6 to 8): strings and numbers, read
//! from bytes, and strings written.

use std::borrow::Cow;

use super::event::Event;
use super::json::JsonError;

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes before this place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
    }

    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The error of a byte that cannot stand here.
    pub(super) fn wrong(&self) -> JsonError {
        if self.at < self.bytes.len() { JsonError::Syntax(self.at) } else { JsonError::Truncated }
    }

    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.accept(byte) { Ok(()) } else { Err(self.wrong()) }
    }

    /// `null`, `true` or `false`.
    pub(super) fn word(&mut self, word: &[u8], event: Event<'a>) -> Result<Event<'a>, JsonError> {
        word.iter().try_for_each(|&byte| self.expect(byte))?;
        Ok(event)
    }

    /// A string; borrowed if nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let start = self.at;
        self.expect(b'"')?;
        let mut text = Cow::Borrowed("");
        loop {
            let plain = self.bytes[self.at..].iter();
            let len = plain.take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count();
            let run = &self.bytes[self.at..self.at + len];
            text += std::str::from_utf8(run).map_err(|_| JsonError::NotUtf8(start))?;
            self.at += len;
            if self.accept(b'"') {
                return Ok(text);
            }
            self.expect(b'\\')?;
            text.to_mut().push(self.escape()?);
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let escaped = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let high = self.hex4()?;
                let mut units = vec![high];
                if (0xd800..0xdc00).contains(&high) {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    units.push(self.hex4()?);
                }
                let decoded = char::decode_utf16(units).next();
                return decoded.and_then(Result::ok).ok_or(JsonError::Syntax(start));
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(escaped)
    }

    fn hex4(&mut self) -> Result<u16, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.and_then(|digit| u16::try_from(digit).ok()).ok_or_else(|| self.wrong())?;
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }

    /// A number: an integer if it is only digits and a sign, else a float.
    pub(super) fn number(&mut self) -> Result<Event<'a>, JsonError> {
        let start = self.at;
        self.accept(b'-');
        if !self.accept(b'0') {
            self.digits()?;
        }
        let mut whole = true;
        if self.accept(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.accept(b'e') || self.accept(b'E') {
            whole = false;
            if !self.accept(b'-') {
                self.accept(b'+');
            }
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| JsonError::Syntax(start))?;
        let too_large = JsonError::Number(start);
        if whole {
            let value: i128 = text.parse().map_err(|_| too_large)?;
            let fits = (-(1 << 64)..1 << 64).contains(&value);
            return if fits { Ok(Event::Integer(value)) } else { Err(too_large) };
        }
        let value: f64 = text.parse().map_err(|_| too_large)?;
        if value.is_finite() { Ok(Event::Float(value)) } else { Err(too_large) }
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong());
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }
}

/// Writes a string with its quotes.
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', if c == '"' { b'"' } else { b'\\' }]),
            '\n' => out.extend_from_slice(br"\n"),
            '\r' => out.extend_from_slice(br"\r"),
            '\t' => out.extend_from_slice(br"\t"),
            '\0'..' ' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
