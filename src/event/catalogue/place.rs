//! Where in a JSON text a JSON pointer points.

/// The byte at which the value that `pointer` names begins in `text`, which is valid JSON; 0 if it names none.
pub(super) fn offset(text: &str, pointer: &str) -> usize {
    let mut reader = Reader {
        bytes: text.as_bytes(),
        at: 0,
    };
    reader.skip_space();
    for token in pointer.split('/').skip(1) {
        if reader.enter(&token.replace("~1", "/").replace("~0", "~")).is_none() {
            return 0;
        }
    }
    reader.at
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Goes from the start of a container to the start of the value at `token`.
    fn enter(&mut self, token: &str) -> Option<()> {
        let is_object = self.peek()? == b'{';
        self.at += 1;
        let mut index = 0;
        loop {
            self.skip_space();
            let found = if is_object {
                let start = self.at;
                self.skip_value()?;
                let key: String = serde_json::from_slice(&self.bytes[start..self.at]).ok()?;
                self.skip_space();
                self.at += 1; // the colon
                self.skip_space();
                key == token
            } else {
                index.to_string() == token
            };
            if found {
                return Some(());
            }
            self.skip_value()?;
            self.skip_space();
            if self.peek()? != b',' {
                return None;
            }
            self.at += 1;
            index += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Goes to the end of the value that begins here.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let rest = &self.bytes[self.at..];
                    let end = rest
                        .iter()
                        .position(|byte| b",:]} \t\r\n".contains(byte))
                        .unwrap_or(rest.len());
                    self.at += end.max(1);
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "{")]
    #[case("/a", "[1")]
    #[case("/a/1", "{\"b/c\"")]
    #[case("/a/1/b~1c", "\"}]\\\"\"")]
    #[case("/d", "null")]
    #[case("/nothing", "{ \"a\"")]
    fn pointer_is_found_in_the_text(#[case] pointer: &str, #[case] begins: &str) {
        let text = r#"{ "a": [1, {"b/c": "}]\""} ], "d" : null }"#;
        let found = &text[offset(text, pointer)..];
        assert!(found.starts_with(begins), "{found}");
    }
}
