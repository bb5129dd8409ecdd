//! The hash of the values on a tape, in an order that is not that of the text.

use std::{cmp::Ordering, ops::Range};

use super::{
    hash::{Hash, Item},
    tape::{Node, Span, Tape, What},
};

/// A member of an object that is to be hashed. Without padding, many are made at once.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// Its name, or where that begins.
    word: u64,
    at: u32,
    /// Not 0: it is left out.
    out: u32,
}

/// An object has a name twice.
#[derive(Debug)]
pub(super) struct Twice;

/// Objects of so many members are sorted where they are found.
const FEW: usize = 8;

// ===== impl Tape =====

impl Tape<'_> {
    /// Hashes the object that the text is, without the members that are left out.
    pub(super) fn hash(
        &self,
        is_left_out: impl Fn(&[u8]) -> bool,
        to: &mut Hash,
    ) -> Result<(), Twice> {
        self.object(0, is_left_out, to)
    }

    /// Hashes a value, and says where the next one is.
    #[inline(always)]
    fn value(&self, at: u32, to: &mut Hash) -> Result<u32, Twice> {
        let node = self.node(at);
        match node.what {
            What::String => self.part(Item::String, node.span, to),
            What::Number => self.part(Item::Number, node.span, to),
            What::Null => to.head(Item::Null, 0),
            What::False => to.head(Item::False, 0),
            What::True => to.head(Item::True, 0),
            What::Array => self.array(at, to)?,
            What::Object => self.object(at, |_| false, to)?,
        }
        Ok(node.after)
    }

    #[inline]
    fn part(&self, item: Item, span: Span, to: &mut Hash) {
        let (text, part) = self.place(span);
        to.part(item, text, part);
    }

    // What has values in it is a function of its own, so that what has none is inlined into it.
    #[inline(never)]
    fn array(&self, at: u32, to: &mut Hash) -> Result<(), Twice> {
        to.head(Item::Array, 0);
        let (mut element, end) = (at + 1, self.node(at).after);
        while element < end {
            element = self.value(element, to)?;
        }
        to.head(Item::End, 0);
        Ok(())
    }

    #[inline(never)]
    fn object(
        &self,
        at: u32,
        is_left_out: impl Fn(&[u8]) -> bool,
        to: &mut Hash,
    ) -> Result<(), Twice> {
        let count = self.node(at).span.start as usize;
        let (mut few, mut many) = ([Member::default(); FEW], Vec::new());
        let members = match few.get_mut(..count) {
            Some(few) => few,
            None => {
                many.resize(count, Member::default());
                &mut many[..]
            }
        };
        let (mut at, mut out) = (at + 1, 0);
        for place in &mut *members {
            let node = self.node(at);
            let (text, name) = self.place(node.name);
            let is_out = is_left_out(&text[name.clone()]);
            *place = Member {
                word: first_word(text, name),
                at,
                out: is_out.into(),
            };
            out += usize::from(is_out);
            at = node.after;
        }
        if count > FEW {
            self.sort(members)?;
        } else {
            for k in 1..members.len() {
                self.insert(&mut members[..=k])?;
            }
        }
        to.head(Item::Object, count - out);
        for member in members.iter().filter(|member| member.out == 0) {
            self.member(member.at, to)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn member(&self, at: u32, to: &mut Hash) -> Result<(), Twice> {
        let node = self.node(at);
        let between: &[u8] = match node.what {
            What::String => b"\":\"",
            What::Number => b"\":",
            _ => {
                self.part(Item::String, node.name, to);
                self.value(at, to)?;
                return Ok(());
            }
        };
        // Mostly it stands so in the text.
        if let Some(joined) = node.name.joined(node.span, between.len() as u32) {
            self.part(Item::Member, joined, to);
        } else {
            self.apart(node, between, to);
        }
        Ok(())
    }

    #[inline(never)]
    fn apart(&self, node: &Node, between: &[u8], to: &mut Hash) {
        let (name, value) = (self.text(node.name), self.text(node.span));
        to.head(Item::Member, name.len() + between.len() + value.len());
        to.bytes(name);
        to.bytes(between);
        to.bytes(value);
    }

    /// Moves the last of some members to where it belongs by its name, which no other may have.
    #[inline(always)]
    fn insert(&self, members: &mut [Member]) -> Result<(), Twice> {
        for k in (1..members.len()).rev() {
            let (one, other) = (members[k - 1], members[k]);
            if one.word < other.word {
                break;
            }
            if one.word == other.word {
                match self.by_name(&one, &other) {
                    Ordering::Less => break,
                    Ordering::Equal => return Err(Twice),
                    Ordering::Greater => {}
                }
            }
            (members[k - 1], members[k]) = (other, one);
        }
        Ok(())
    }

    #[inline(never)]
    fn sort(&self, members: &mut [Member]) -> Result<(), Twice> {
        let order = |one: &Member, other: &Member| {
            let words = one.word.cmp(&other.word);
            words.then_with(|| self.by_name(one, other))
        };
        members.sort_unstable_by(order);
        let mut pairs = members.windows(2);
        match pairs.any(|pair| order(&pair[0], &pair[1]).is_eq()) {
            true => Err(Twice),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn by_name(&self, one: &Member, other: &Member) -> Ordering {
        let name = |member: &Member| self.text(self.node(member.at).name);
        name(one).cmp(name(other))
    }
}

/// The first eight bytes of a name, which tell most names apart. What a shorter one lacks is 0.
#[inline]
fn first_word(text: &[u8], name: Range<usize>) -> u64 {
    let len = name.len();
    if let Some(word) = text[name.start..].first_chunk() {
        let word = u64::from_be_bytes(*word);
        // What is after the name is none of it.
        return word
            & !u64::MAX
                .checked_shr(8 * len.min(8) as u32)
                .unwrap_or_default();
    }
    let bytes = text[name].iter().zip((0..8).rev());
    bytes.fold(0, |word, (byte, at)| word | u64::from(*byte) << (8 * at))
}

#[cfg(test)]
mod tests {
    use super::first_word;

    #[test]
    fn the_first_word_of_a_name_has_nothing_of_what_is_after_it() {
        let text = b"\"role\":1,\"a_name_of_twelve\":{}";
        for start in 0..text.len() {
            for end in start..=text.len() {
                let mut bytes = [0; 8];
                for (byte, from) in bytes.iter_mut().zip(&text[start..end]) {
                    *byte = *from;
                }
                let word = u64::from_be_bytes(bytes);
                assert_eq!(first_word(text, start..end), word, "{start}..{end}");
            }
        }
    }
}
