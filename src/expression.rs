//! Expressions and templates: minijinja, strict about what is undefined, with bounded work and output.

mod code;
mod error;
mod filters;
mod paths;
mod product;
mod sandbox;

use std::collections::HashSet;
use std::io;
use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, escape_formatter};

use self::error::short;
pub(crate) use self::error::{BadSource, EvalError, MAX_OUTPUT};
use self::filters::unknown_filter;
use self::paths::paths;
pub(crate) use self::paths::with_dots;
use self::sandbox::ENVIRONMENT;

/// The name under which a template is alone in its environment.
const NAME: &str = "text";

/// What is undefined is nothing there, and so are its properties.
static LENIENT: LazyLock<Environment<'static>> = LazyLock::new(|| sandbox::environment(UndefinedBehavior::Chainable));

/// An expression such as `payload.amount > 100`.
#[derive(Debug)]
pub(crate) struct Expression {
    source: Box<str>,
    compiled: minijinja::Expression<'static, 'static>,
}

/// A template such as `Your order #{{ entity_id }} has shipped`.
#[derive(Debug)]
pub(crate) struct Template(Environment<'static>);

impl Expression {
    /// # Errors
    /// [`BadSource`] when it is no expression, or calls a filter or function that there is not.
    pub(crate) fn compile(source: &str) -> Result<Self, BadSource> {
        Self::compile_in(&ENVIRONMENT, source)
    }

    /// One in which what is undefined is nothing, and so are its properties.
    ///
    /// # Errors
    /// [`BadSource`] when it is no expression, or calls a filter or function that there is not.
    pub(crate) fn compile_lenient(source: &str) -> Result<Self, BadSource> {
        Self::compile_in(&LENIENT, source)
    }

    fn compile_in(environment: &'static Environment<'static>, source: &str) -> Result<Self, BadSource> {
        let compile = |source: String| environment.compile_expression_owned(source);
        // As it is written first: so an error has its place in it.
        let compiled = compile(source.to_owned()).and_then(|_| compile(product::checked(source, true)));
        let compiled = compiled.map_err(|error| BadSource::of(&error, source))?;
        if let Some(unknown) = unknown_filter(source, true) {
            return Err(unknown);
        }
        Ok(Self {
            source: source.into(),
            compiled,
        })
    }

    /// The result, as JSON.
    ///
    /// # Errors
    /// [`EvalError`] when something is undefined, takes too many steps or is longer than 64 KiB.
    pub(crate) fn eval(&self, names: &Value) -> Result<serde_json::Value, EvalError> {
        let value = self.value(names)?;
        if value.is_undefined() {
            return Err(EvalError(format!("`{}` is undefined", short(&self.source))));
        }
        if sandbox::weigh(&value) > sandbox::BUDGET {
            return Err(EvalError(format!("found too much in `{}`", short(&self.source))));
        }
        let value = serde_json::to_value(&value).map_err(|_| {
            EvalError(format!(
                "found a {} in `{}`, expected what JSON can hold",
                value.kind(),
                short(&self.source)
            ))
        })?;
        match size(&value) {
            ..=MAX_OUTPUT => Ok(value),
            too_long => Err(EvalError(format!(
                "found {too_long} bytes in `{}`, expected at most {MAX_OUTPUT}",
                short(&self.source)
            ))),
        }
    }

    /// Whether the result is true in the sense of a condition.
    ///
    /// # Errors
    /// [`EvalError`] when something is undefined or takes too many steps.
    pub(crate) fn holds(&self, names: &Value) -> Result<bool, EvalError> {
        let value = self.value(names)?;
        if value.is_undefined() {
            return Err(EvalError(format!("`{}` is undefined", short(&self.source))));
        }
        Ok(value.is_true())
    }

    /// The variables it reads, with dots: `payload.lines._0.sku` for `payload.lines[0].sku`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let rewritten = with_dots(&self.source);
        match ENVIRONMENT.compile_expression_owned(rewritten) {
            Ok(compiled) => paths(compiled.undeclared_variables(true)),
            Err(_) => paths(self.compiled.undeclared_variables(true)),
        }
    }

    /// The variables it reads, without what is read of them.
    pub(crate) fn variables(&self) -> HashSet<String> {
        self.compiled.undeclared_variables(false)
    }

    /// The result as it is.
    ///
    /// # Errors
    /// [`EvalError`] when something is undefined that may not be, or takes too many steps.
    pub(crate) fn value(&self, names: &Value) -> Result<Value, EvalError> {
        self.compiled
            .eval(sandbox::for_a_while(names))
            .map_err(|error| EvalError::of(&error, &product::checked(&self.source, true)))
    }
}

impl Template {
    /// # Errors
    /// [`BadSource`] when the template cannot be read.
    pub(crate) fn compile(source: &str) -> Result<Self, BadSource> {
        Self::compile_in(ENVIRONMENT.clone(), source)
    }

    /// One whose output is JSON: `{{ value }}` prints the value as JSON, whatever it holds.
    ///
    /// # Errors
    /// [`BadSource`] when the template cannot be read.
    pub(crate) fn compile_json(source: &str) -> Result<Self, BadSource> {
        let mut environment = ENVIRONMENT.clone();
        environment.set_auto_escape_callback(|_| AutoEscape::Json);
        Self::compile_in(environment, source)
    }

    /// One that is a URL: what an expression says is part of its path or query, and begins or ends neither.
    ///
    /// # Errors
    /// [`BadSource`] when the template cannot be read.
    pub(crate) fn compile_url(source: &str) -> Result<Self, BadSource> {
        let mut environment = ENVIRONMENT.clone();
        environment.set_formatter(|out, state, value| {
            let says = value.to_string();
            if says.contains(|c: char| matches!(c, '?' | '#' | '\\') || c.is_control()) {
                let detail = "found `?`, `#`, `\\` or a control character, expected none: use |urlencode";
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
            escape_formatter(out, state, value)
        });
        Self::compile_in(environment, source)
    }

    fn compile_in(mut environment: Environment<'static>, source: &str) -> Result<Self, BadSource> {
        // As it is written first: so an error has its place in it.
        for source in [source.to_owned(), product::checked(source, false)] {
            environment
                .add_template_owned(NAME, source.clone())
                .map_err(|error| BadSource::of(&error, &source))?;
        }
        if let Some(unknown) = unknown_filter(source, false) {
            return Err(unknown);
        }
        Ok(Self(environment))
    }

    /// The text.
    ///
    /// # Errors
    /// [`EvalError`] when something is undefined, takes too many steps or is longer than 64 KiB.
    pub(crate) fn render(&self, names: &Value) -> Result<String, EvalError> {
        let template = self
            .0
            .get_template(NAME)
            .map_err(|error| EvalError(error.to_string()))?;
        let mut output = Bounded(Vec::new());
        if let Err(error) = template.render_captured_to(sandbox::for_a_while(names), &mut output) {
            return Err(EvalError::of(&error, template.source()));
        }
        String::from_utf8(output.0).map_err(|error| EvalError(error.to_string()))
    }

    /// The variables it reads, with dots: `payload.lines._0.sku` for `payload.lines[0].sku`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let Ok(template) = self.0.get_template(NAME) else {
            return Vec::new();
        };
        let mut environment = ENVIRONMENT.clone();
        match environment.add_template_owned(NAME, with_dots(&product::as_written(template.source()))) {
            Ok(()) => environment
                .get_template(NAME)
                .map(|rewritten| paths(rewritten.undeclared_variables(true)))
                .unwrap_or_default(),
            Err(_) => paths(template.undeclared_variables(true)),
        }
    }
}

/// About how long a value is as JSON, in bytes.
pub(super) fn size(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) => 4,
        serde_json::Value::Number(_) => 8,
        serde_json::Value::String(text) => text.len() + 2,
        serde_json::Value::Array(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 2,
        serde_json::Value::Object(fields) => {
            fields
                .iter()
                .map(|(name, value)| name.len() + size(value) + 4)
                .sum::<usize>()
                + 2
        }
    }
}

/// Takes up to [`MAX_OUTPUT`] bytes.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
