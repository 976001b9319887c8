//! Structs that a caller fills, and the sizes that they say they have.

use libc::EINVAL;

use crate::arguments::Choice;
use crate::values::{LARGE, memory};

/// A struct as bytes: its size, and some members at their offsets; all else is zero.
#[derive(Clone)]
pub struct Image(pub Vec<u8>);

impl Image {
    pub fn of<T>() -> Image {
        Image(vec![0; size_of::<T>()]).word(0, size_of::<T>())
    }

    fn put(mut self, offset: usize, bytes: &[u8]) -> Image {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn word(self, offset: usize, value: usize) -> Image {
        self.put(offset, &value.to_ne_bytes())
    }

    /// An int, an unsigned int or a socklen_t.
    pub fn int(self, offset: usize, value: i32) -> Image {
        self.put(offset, &value.to_ne_bytes())
    }

    pub fn ints<const N: usize>(self, members: [(usize, i32); N]) -> Image {
        members.into_iter().fold(self, |image, (offset, value)| image.int(offset, value))
    }

    /// As it stands in an array of a later version.
    pub fn grown(mut self, size: usize) -> Image {
        self.0.resize(size, 0xFF);
        self.word(0, size)
    }
}

/// A struct by itself.
pub fn choice(label: &str, image: Image) -> Choice {
    memory(label, &image.0, true, &[])
}

/// A good one, and the same in other sizes.
pub fn sizes(label: &str, good: &Image) -> Vec<Choice> {
    let size = good.0.len();
    let mut all = vec![choice(label, good.clone())];
    for small in [0, 1, size - 1] {
        all.push(choice(&format!("of a small size {small}"), good.clone().word(0, small)).mistake(EINVAL));
    }
    all.extend([size + 8, LARGE].map(|later| choice("of a later version", good.clone().grown(later))));
    // It is a promise of what can be read, not a wish.
    all.push(choice("of a huge size", good.clone().word(0, usize::MAX)));
    all
}

/// Options: NULL is the default.
pub fn options(label: &str, good: &Image) -> Vec<Choice> {
    let mut all = sizes(label, good);
    all.push(Choice::new("NULL", &[0]));
    all
}
