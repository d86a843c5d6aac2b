//! Bytes of the fuzzer as more than one thing: choices, numbers, a stream that
//! comes in pieces.

/// How a stream is cut: sizes of pieces, again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuts([usize; Self::BYTES]);

impl Cuts {
    /// Bytes of the input that say how.
    const BYTES: usize = 3;

    /// Takes them off the front of the input; what is left is the stream.
    pub(crate) fn of(input: &[u8]) -> (Self, &[u8]) {
        let (head, stream) = input.split_at(Self::BYTES.min(input.len()));
        // Mostly small pieces, since that is where the seams are.
        let size = |at: usize| match head.get(at) {
            Some(&few @ ..200) => usize::from(few % 32) + 1,
            Some(&many) => usize::from(many - 199) * 64,
            None => 1,
        };
        (Self(std::array::from_fn(size)), stream)
    }

    /// A seed of this stream, in pieces of these sizes, each at most 32.
    pub(crate) fn seed(sizes: [u8; Self::BYTES], stream: &[u8]) -> Vec<u8> {
        [&sizes.map(|size| size.saturating_sub(1))[..], stream].concat()
    }

    /// The pieces of a stream, none of them empty.
    pub(crate) fn pieces<'s>(&self, mut stream: &'s [u8]) -> impl Iterator<Item = &'s [u8]> {
        let mut sizes = self.0.into_iter().cycle();
        std::iter::from_fn(move || {
            let (piece, rest) = stream.split_at(sizes.next()?.min(stream.len()));
            stream = rest;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Asserts that `read` makes the same of a stream however it comes, and gives that.
pub(crate) fn however_cut<'i, T: std::fmt::Debug + PartialEq>(
    input: &'i [u8],
    read: impl Fn(&mut dyn Iterator<Item = &'i [u8]>) -> T,
) -> T {
    let (cuts, stream) = Cuts::of(input);
    let whole = read(&mut Some(stream).filter(|stream| !stream.is_empty()).into_iter());
    let cut = read(&mut cuts.pieces(stream));
    assert_eq!(cut, whole, "how a stream is cut does not matter");
    whole
}

/// Takes values off the front of an input. After its end all are zero, so that
/// every input means something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'i>(pub(crate) &'i [u8]);

impl<'i> Values<'i> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Bytes with their number, below 256, in front.
    pub(crate) fn bytes(&mut self) -> &'i [u8] {
        let len = self.u8();
        self.take(len.into())
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(usize::from(self.u8()) % choices.len().max(1))
    }
}
