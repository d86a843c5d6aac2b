//! A CAR from its first byte to its last, in one pass, as it comes from a
//! file, a pipe or the network. It frames exactly and verifies no hash, which
//! callers do on as many threads as they have.

use bytes::Bytes;

use super::error::{CarError, Fault, Part};
use super::event::{Event, Options};
use super::header::{self, Header, V2, V2_LEN};
use super::input::{BUFFERED_MAX, Input};
use super::parse;
use crate::Cid;
use crate::cid_text::{self, NoCid};
use crate::limits::{BLOCK_MAX, CAR_HEADER_MAX, CAR_SECTION_MAX, CID_WIRE_MAX};

/// A decoder of CAR files, into which bytes are pushed.
///
/// Call [`Self::next`] until it says none. Then bring bytes: read some into
/// [`Self::space`] and say with [`Self::filled`] how many, or copy some with
/// [`Self::feed`]; at the end of the input call [`Self::finish`]. Stop at
/// [`Event::End`], without which the file is not whole. The module has
/// [an example](super#reading-a-file-out-of-a-car).
///
/// It holds at most one section or header, of at most [`CAR_SECTION_MAX`] and
/// [`CAR_HEADER_MAX`] bytes, and [`crate::limits::CAR_BUFFER`] bytes that are
/// read ahead. A block of up to half of those is copied out of them, after one
/// more move if it lay across their end; of a larger one only what came with
/// its head is copied, and the rest read in place.
#[derive(Debug)]
pub struct Reader {
    options: Options,
    input: Input,
    state: State,
    /// Set by the second header of a version 2.
    v2: Option<V2>,
    ended: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The header of a version 1, inside of a version 2 or not, or the pragma.
    Header,
    /// The rest of a large header, which begins there.
    HeaderBody(u64),
    HeaderV2,
    /// Bytes up to that one, and then the data or the index.
    Padding(u64, AfterPadding),
    Section,
    /// The rest of a large block, whose section begins there.
    Block(Cid, u64),
    /// Zeros up to the end of the data of a version 2.
    ZerosInData,
    /// Zeros up to the end of the file.
    ZerosAtEnd,
    Index,
    End,
    Failed(CarError),
}

#[derive(Debug, Clone, Copy)]
enum AfterPadding {
    Data,
    Index,
}

/// How a part of the file went.
enum Step {
    Event(Event),
    /// The state has changed.
    Next,
    /// More bytes are needed; without any the file is cut there.
    Wait(Part),
}

const fn error<T>(offset: u64, fault: Fault) -> Result<T, CarError> {
    Err(CarError { offset, fault })
}

impl Reader {
    /// A reader at the first byte of a file.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, input: Input::new(), state: State::Header, v2: None, ended: false }
    }

    /// Room for the next bytes of the input. It is not empty after
    /// [`Self::next`] said none; it is after [`Self::finish`], [`Event::End`]
    /// and errors.
    pub fn space(&mut self) -> &mut [u8] {
        if self.ended || matches!(self.state, State::End | State::Failed(_)) {
            return &mut [];
        }
        self.input.space()
    }

    /// Says that the first `len` bytes of [`Self::space`] are the next ones of
    /// the input. More than its length counts as its length.
    pub fn filled(&mut self, len: usize) {
        self.input.filled(len);
    }

    /// Copies from the front of `bytes` what there is space for, and says how
    /// many that were: at least one, unless [`Self::space`] is empty.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let len = bytes.len().min(space.len());
        space[..len].copy_from_slice(&bytes[..len]);
        self.filled(len);
        len
    }

    /// Says that the input has ended. [`Self::next`] then gives what is left,
    /// and [`Event::End`] or what is missing.
    pub const fn finish(&mut self) {
        self.ended = true;
    }

    /// The next event; none if more bytes are needed.
    ///
    /// # Errors
    /// See [`Fault`]; the same error when asked again. What came before it was
    /// well formed.
    #[expect(clippy::should_implement_trait, reason = "a reader is fed between its events")]
    pub fn next(&mut self) -> Result<Option<Event>, CarError> {
        loop {
            match self.step() {
                Ok(Step::Next) => {}
                Ok(Step::Event(event)) => return Ok(Some(event)),
                Ok(Step::Wait(_)) if !self.ended => return Ok(None),
                Ok(Step::Wait(part)) => {
                    let offset = match self.state {
                        State::HeaderBody(offset) | State::Block(_, offset) => offset,
                        _ => self.input.position(),
                    };
                    self.state = State::Failed(CarError { offset, fault: Fault::Cut(part) });
                }
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, CarError> {
        match self.state {
            State::Header => self.header(),
            State::HeaderBody(offset) => match self.input.take_large() {
                Some(body) => self.header_body(offset, header::parse_at(&body, offset)?),
                None => Ok(Step::Wait(Part::Header)),
            },
            State::HeaderV2 => self.header_v2(),
            State::Padding(to, then) => {
                self.skip(to);
                if self.input.position() < to {
                    return Ok(Step::Wait(Part::Padding));
                }
                self.state = match then {
                    AfterPadding::Data => State::Header,
                    AfterPadding::Index => State::Index,
                };
                Ok(Step::Next)
            }
            State::Section => self.section(),
            State::Block(cid, offset) => match self.input.take_large() {
                Some(data) => {
                    self.state = State::Section;
                    Ok(Step::Event(Event::Block { cid, data, offset }))
                }
                None => Ok(Step::Wait(Part::Section)),
            },
            State::ZerosInData | State::ZerosAtEnd => self.zeros(),
            State::Index => Ok(self.index()),
            State::End => Ok(Step::Event(Event::End)),
            State::Failed(error) => Err(error),
        }
    }

    /// Bytes of the data that have not been used; without bound in a version 1.
    fn left(&self) -> u64 {
        self.v2.map_or(u64::MAX, |v2| v2.data_end().saturating_sub(self.input.position()))
    }

    /// What has come of the data.
    fn available(&self) -> &[u8] {
        let available = self.input.available();
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        &available[..available.len().min(left)]
    }

    /// The length at the front, and how many bytes it takes itself.
    fn length(&self, part: Part) -> Result<Option<(u64, usize)>, CarError> {
        let offset = self.input.position();
        let available = self.available();
        match parse::varint(available) {
            Err(fault) => error(offset, Fault::Length(fault)),
            Ok(None) if available.len() as u64 == self.left() => error(offset, Fault::BeyondData(part)),
            Ok(Some((len, width))) if self.v2.is_some() && len > self.left() - width as u64 => {
                error(offset, Fault::BeyondData(part))
            }
            Ok(length) => Ok(length),
        }
    }

    fn header(&mut self) -> Result<Step, CarError> {
        let offset = self.input.position();
        let Some((claimed, width)) = self.length(Part::Header)? else {
            return Ok(Step::Wait(Part::Header));
        };
        let len = usize::try_from(claimed).ok().filter(|&len| len <= CAR_HEADER_MAX);
        let Some(len) = len else {
            return error(offset, Fault::HeaderTooLarge(claimed));
        };
        if let Some(body) = self.available()[width..].get(..len) {
            let parsed = header::parse_at(body, offset)?;
            self.input.consume(width + len);
            return self.header_body(offset, parsed);
        }
        if len > BUFFERED_MAX {
            self.input.consume(width);
            self.input.begin_large(len);
            self.state = State::HeaderBody(offset);
        }
        Ok(Step::Wait(Part::Header))
    }

    fn header_body(&mut self, offset: u64, parsed: header::Parsed) -> Result<Step, CarError> {
        let header::Parsed { version, roots, pragma } = parsed;
        match (self.v2, version) {
            (v2, 1) => {
                self.state = State::Section;
                Ok(Step::Event(Event::Header(Header { roots, v2 })))
            }
            (Some(_), other) => error(offset, Fault::InnerVersion(other)),
            (None, 2) if pragma => {
                self.state = State::HeaderV2;
                Ok(Step::Next)
            }
            (None, 2) => error(offset, Fault::Pragma),
            (None, other) => error(offset, Fault::Version(other)),
        }
    }

    fn header_v2(&mut self) -> Result<Step, CarError> {
        let Some(bytes) = self.input.available().first_chunk::<V2_LEN>() else {
            return Ok(Step::Wait(Part::HeaderV2));
        };
        let v2 = V2::parse(bytes, self.options.index)?;
        self.input.consume(V2_LEN);
        self.v2 = Some(v2);
        self.state = State::Padding(v2.data_offset, AfterPadding::Data);
        Ok(Step::Next)
    }

    fn section(&mut self) -> Result<Step, CarError> {
        let offset = self.input.position();
        if self.left() == 0 {
            return Ok(self.after_data());
        }
        if self.available().is_empty() {
            if self.v2.is_none() && self.ended {
                self.state = State::End;
                return Ok(Step::Next);
            }
            return Ok(Step::Wait(Part::Data));
        }
        let Some((claimed, width)) = self.length(Part::Section)? else {
            return Ok(Step::Wait(Part::Section));
        };
        if claimed == 0 && self.options.zero_ends {
            self.state = if self.v2.is_some() { State::ZerosInData } else { State::ZerosAtEnd };
            return Ok(Step::Next);
        }
        if claimed == 0 {
            return error(offset, Fault::EmptySection);
        }
        let too_large = Fault::SectionTooLarge(claimed);
        let len = usize::try_from(claimed).ok().filter(|&len| len <= CAR_SECTION_MAX);
        let Some(len) = len else {
            return error(offset, too_large);
        };
        let available = &self.available()[width..];
        let body = &available[..available.len().min(len)];
        if body.len() < len.min(CID_WIRE_MAX) {
            return Ok(Step::Wait(Part::Section));
        }
        let (cid, cid_len) = match cid_text::at_front(body) {
            Ok(parsed) => parsed,
            Err(NoCid::Cut) => return error(offset, Fault::SectionTooShort),
            Err(NoCid::Bad) => return error(offset, Fault::Cid),
        };
        let block_len = len - cid_len;
        if block_len > BLOCK_MAX {
            return error(offset, too_large);
        }
        if body.len() == len {
            let data = Bytes::copy_from_slice(&body[cid_len..]);
            self.input.consume(width + len);
            return Ok(Step::Event(Event::Block { cid, data, offset }));
        }
        if width + len > BUFFERED_MAX {
            self.input.consume(width + cid_len);
            self.input.begin_large(block_len);
            self.state = State::Block(cid, offset);
        }
        Ok(Step::Wait(Part::Section))
    }

    /// Goes on where the data of a version 2 has ended.
    fn after_data(&mut self) -> Step {
        let index_offset = self.v2.and_then(|v2| v2.index_offset);
        self.state = match index_offset {
            _ if !self.options.index => State::End,
            Some(offset) => State::Padding(offset, AfterPadding::Index),
            None => State::ZerosAtEnd,
        };
        Step::Next
    }

    fn zeros(&mut self) -> Result<Step, CarError> {
        let in_data = matches!(self.state, State::ZerosInData);
        let zeros = if in_data { self.available() } else { self.input.available() };
        let len = zeros.len();
        if let Some(at) = zeros.iter().position(|&byte| byte != 0) {
            return error(self.input.position() + at as u64, Fault::Trailing);
        }
        self.input.consume(len);
        if in_data && self.left() == 0 {
            return Ok(self.after_data());
        }
        if !in_data && self.ended {
            self.state = State::End;
            return Ok(Step::Next);
        }
        Ok(Step::Wait(Part::Data))
    }

    fn index(&mut self) -> Step {
        let available = self.input.available();
        if available.is_empty() && self.ended {
            self.state = State::End;
            return Step::Next;
        }
        if available.is_empty() {
            return Step::Wait(Part::Padding);
        }
        let offset = self.input.position();
        let data = Bytes::copy_from_slice(available);
        self.input.consume(data.len());
        Step::Event(Event::Index { data, offset })
    }

    /// Drops what has come up to `to`.
    fn skip(&mut self, to: u64) {
        let left = usize::try_from(to.saturating_sub(self.input.position())).unwrap_or(usize::MAX);
        self.input.consume(self.input.available().len().min(left));
    }
}
