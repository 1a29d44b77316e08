//! How much a sentence is like a training phrase, and what of it fills the phrase's parameters.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::reader::Reader;
use super::value::Kind;
use super::words::{Word, said, words};

/// Words that are nearly the same are, from here on, of 1 for the same word.
const ALIKE: f64 = 0.8;

/// Shorter words must be the same.
const SHORT: usize = 5;

/// What a parameter of a phrase weighs, where 1 is a word of a single intent; one that takes any words says less.
const SLOT: f64 = 0.6;
const ANY_SLOT: f64 = 0.2;

/// A part of a training phrase.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// A word, in lower case.
    Word(String),
    /// A parameter of the intent, by its name.
    Slot(String),
}

/// How telling words are: one that few intents use tells more.
#[derive(Debug, Default)]
pub(super) struct Weights {
    intents: usize,
    users: BTreeMap<String, usize>,
}

impl Weights {
    /// Of the words of each intent.
    pub(super) fn of<'a>(intents: impl Iterator<Item = impl Iterator<Item = &'a Part>>) -> Self {
        let mut weights = Self::default();
        for parts in intents {
            weights.intents += 1;
            let used: BTreeSet<&str> = parts
                .filter_map(|part| match part {
                    Part::Word(word) => Some(word.as_str()),
                    Part::Slot(_) => None,
                })
                .collect();
            for word in used {
                *weights.users.entry(word.to_owned()).or_default() += 1;
            }
        }
        weights
    }

    fn word(&self, word: &str) -> f64 {
        let users = self.users.get(word).copied().unwrap_or(1);
        let tells = |users: usize| (1.0 + self.intents as f64 / users as f64).ln();
        tells(users) / tells(1)
    }
}

/// A sentence beside a phrase.
#[derive(Clone, Debug, Default)]
pub(super) struct Likeness {
    /// From 0, nothing in common, to 1, the same.
    pub(super) score: f64,
    /// The parameters that the sentence fills.
    pub(super) parameters: Map<String, Value>,
}

/// A sentence, to be compared with phrases.
pub(super) struct Sentence<'a> {
    text: &'a str,
    words: Vec<Word<'a>>,
    weights: Vec<f64>,
    reader: &'a Reader,
}

impl<'a> Sentence<'a> {
    pub(super) fn new(text: &'a str, weights: &Weights, reader: &'a Reader) -> Self {
        let words = words(text);
        Self {
            weights: words.iter().map(|word| weights.word(&word.low)).collect(),
            text,
            words,
            reader,
        }
    }

    /// Compares it with a phrase of an intent that has these parameters. Words and parameters count in the order in which
    /// they stand; a parameter that the phrase has not is filled by what is left.
    pub(super) fn like(&self, phrase: &[Part], slots: &[(&str, &Kind)], weights: &Weights) -> Likeness {
        let kind = |name: &str| slots.iter().find(|(slot, _)| *slot == name).map(|(_, kind)| *kind);
        let table = self.table(phrase, &kind, weights);
        let mut found = Likeness::default();
        let mut left = vec![true; self.words.len()];
        let (mut part, mut word) = (0, 0);
        while part < phrase.len() && word < self.words.len() {
            let step = table[part][word].1;
            match step {
                Step::SkipPart => part += 1,
                Step::SkipWord => word += 1,
                Step::Take(words) => {
                    if let Part::Slot(name) = &phrase[part]
                        && let Some(kind) = kind(name)
                        && let Some(value) = self.value(kind, word, words)
                    {
                        found.parameters.insert(name.clone(), value);
                    }
                    left[word..word + words].fill(false);
                    (part, word) = (part + 1, word + words);
                }
            }
        }
        let mut common = table[0][0].0;
        for (name, kind) in slots {
            if kind.is_any() || found.parameters.contains_key(*name) {
                continue;
            }
            let fits = |at: usize| {
                let (length, value) = kind.read(&self.words[at..], self.reader)?;
                left[at..at + length]
                    .iter()
                    .all(|left| *left)
                    .then_some((at, length, value))
            };
            if let Some((at, length, value)) = (0..self.words.len()).find_map(fits) {
                found.parameters.insert((*name).to_owned(), value);
                left[at..at + length].fill(false);
                common += self.weights[at..at + length].iter().sum::<f64>();
            }
        }
        let of_phrase: f64 = phrase.iter().map(|part| weight(part, &kind, weights)).sum();
        let all = of_phrase + self.weights.iter().sum::<f64>();
        found.score = if all > 0.0 { common / all } else { 0.0 };
        found
    }

    /// The most that the phrase from each part on and the sentence from each word on have in common, and the step to it.
    fn table<'k>(
        &self,
        phrase: &[Part],
        kind: &impl Fn(&str) -> Option<&'k Kind>,
        weights: &Weights,
    ) -> Vec<Vec<(f64, Step)>> {
        let (parts, words) = (phrase.len(), self.words.len());
        let mut table = vec![vec![(0.0, Step::SkipWord); words + 1]; parts + 1];
        for part in (0..parts).rev() {
            for word in (0..words).rev() {
                let mut best = (table[part + 1][word].0, Step::SkipPart);
                let mut offer = |common: f64, step| {
                    if common > best.0 {
                        best = (common, step);
                    }
                };
                offer(table[part][word + 1].0, Step::SkipWord);
                let own = weight(&phrase[part], kind, weights);
                match &phrase[part] {
                    Part::Word(wanted) => {
                        let likeness = alike(wanted, &self.words[word].low);
                        if likeness > 0.0 {
                            let common = likeness * (own + self.weights[word]);
                            offer(common + table[part + 1][word + 1].0, Step::Take(1));
                        }
                    }
                    Part::Slot(name) => match kind(name) {
                        Some(Kind::Any) => {
                            for taken in 1..=words - word {
                                let half: f64 = self.weights[word..word + taken].iter().sum::<f64>() / 2.0;
                                offer(own + half + table[part + 1][word + taken].0, Step::Take(taken));
                            }
                        }
                        Some(kind) => {
                            if let Some((taken, _)) = kind.read(&self.words[word..], self.reader) {
                                let whole: f64 = self.weights[word..word + taken].iter().sum();
                                offer(own + whole + table[part + 1][word + taken].0, Step::Take(taken));
                            }
                        }
                        None => {}
                    },
                }
                table[part][word] = best;
            }
        }
        table
    }

    fn value(&self, kind: &Kind, from: usize, length: usize) -> Option<Value> {
        let words = &self.words[from..from + length];
        if matches!(kind, Kind::Any) {
            return Some(said(self.text, words).into());
        }
        Some(kind.read(&self.words[from..], self.reader)?.1)
    }

    /// The value of this kind that the sentence has, and how much of its words it is, from 0 to 1.
    pub(super) fn holds(&self, kind: &Kind) -> Option<(Value, f64)> {
        if kind.is_any() {
            let all = said(self.text, &self.words);
            return (!all.is_empty()).then(|| (all.into(), 1.0));
        }
        let found = (0..self.words.len()).filter_map(|at| kind.read(&self.words[at..], self.reader));
        let (length, value) = found.reduce(|one, other| if other.0 > one.0 { other } else { one })?;
        Some((value, length as f64 / self.words.len() as f64))
    }
}

/// One step along a phrase and a sentence.
#[derive(Clone, Copy, Debug)]
enum Step {
    SkipPart,
    SkipWord,
    /// The part is there, as so many words.
    Take(usize),
}

fn weight<'k>(part: &Part, kind: &impl Fn(&str) -> Option<&'k Kind>, weights: &Weights) -> f64 {
    match part {
        Part::Word(word) => weights.word(word),
        Part::Slot(name) => kind(name).map_or(0.0, |kind| if kind.is_any() { ANY_SLOT } else { SLOT }),
    }
}

/// How alike two words are; 0 for words that are not.
fn alike(wanted: &str, found: &str) -> f64 {
    if wanted == found {
        return 1.0;
    }
    let is_long = |word: &str| word.chars().count() >= SHORT && !word.starts_with(|sign: char| sign.is_ascii_digit());
    if !is_long(wanted) || !is_long(found) {
        return 0.0;
    }
    let likeness = strsim::normalized_damerau_levenshtein(wanted, found);
    if likeness >= ALIKE { likeness } else { 0.0 }
}
