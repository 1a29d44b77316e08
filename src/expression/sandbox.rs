//! What an expression may call: minijinja's filters, tests and functions, each of which pays for what it looks at.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use minijinja::value::{Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value, filters, functions, tests,
};

/// An evaluation takes at most so many steps.
const FUEL: u64 = 50_000;

/// What all filters of an evaluation may look at and make, in bytes.
pub(super) const BUDGET: usize = 8 * 1024 * 1024;

/// How long an evaluation may take; looked at whenever a variable is read.
const LIMIT: Duration = Duration::from_secs(5);

/// A value costs so much whatever it holds, in bytes.
const SMALL: usize = 16;

/// How deep loops may stand in each other.
const DEPTH: usize = 8;

/// What a call costs, by its arguments.
type Cost = fn(&[Value]) -> Result<usize, Error>;

/// What is left of the budget of an evaluation.
struct Budget(usize);

/// Where what is undefined is an error.
pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> =
    LazyLock::new(|| environment(UndefinedBehavior::Strict));

/// An environment in which nothing can be called whose work has no bound.
pub(super) fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(undefined);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    environment.set_debug(true); // so that an error knows which part of the source it is about
    for (name, cost, filter) in all_filters() {
        environment.add_filter(name, metered(cost, filter));
    }
    for (name, cost, test) in all_tests() {
        environment.add_test(name, metered(cost, test));
    }
    environment.add_function("range", metered(whole, Value::from_function(functions::range)));
    environment.add_function("dict", metered(whole, Value::from_function(functions::dict)));
    environment
}

/// The names that an expression reads, for as long as it may take.
pub(super) fn for_a_while(names: &Value) -> Value {
    Value::from_object(Timed {
        names: names.clone(),
        until: Instant::now() + LIMIT,
    })
}

/// Pays for a call before it is made.
fn metered(
    cost: Cost,
    call: Value,
) -> impl Fn(&mut State<'_, '_>, Rest<ValueOrKwargs>) -> Result<Value, Error> + Send + Sync + 'static {
    move |state, arguments| {
        let arguments = arguments.into_values();
        let cost = cost(&arguments)?;
        let budget = state.get_or_insert_extension_with(|| Budget(BUDGET));
        let left = budget.0.checked_sub(cost);
        budget.0 = left.ok_or_else(|| refused("its filters have too much to do"))?;
        call.call(state, &arguments)
    }
}

fn all_filters() -> Vec<(&'static str, Cost, Value)> {
    vec![
        ("abs", glance, Value::from_function(filters::abs)),
        ("attr", glance, Value::from_function(filters::attr)),
        ("batch", of_groups, Value::from_function(filters::batch)),
        ("bool", glance, Value::from_function(filters::bool)),
        ("capitalize", whole, Value::from_function(filters::capitalize)),
        ("chain", whole, Value::from_function(filters::chain)),
        ("count", glance, Value::from_function(filters::length)),
        ("d", glance, Value::from_function(filters::default)),
        ("default", glance, Value::from_function(filters::default)),
        ("dictsort", whole, Value::from_function(filters::dictsort)),
        ("e", whole, Value::from_function(filters::escape)),
        ("escape", whole, Value::from_function(filters::escape)),
        ("first", glance, Value::from_function(filters::first)),
        ("float", glance, Value::from_function(filters::float)),
        ("format", of_format, Value::from_function(filters::format)),
        ("groupby", whole, Value::from_function(filters::groupby)),
        ("int", glance, Value::from_function(filters::int)),
        ("items", glance, Value::from_function(filters::items)),
        ("join", of_join, Value::from_function(filters::join)),
        ("last", of_items, Value::from_function(filters::last)),
        ("length", glance, Value::from_function(filters::length)),
        ("lines", whole, Value::from_function(filters::lines)),
        ("list", whole, Value::from_function(filters::list)),
        ("lower", whole, Value::from_function(filters::lower)),
        ("map", whole, Value::from_function(filters::map)),
        ("max", whole, Value::from_function(filters::max)),
        ("min", whole, Value::from_function(filters::min)),
        ("reject", whole, Value::from_function(filters::reject)),
        ("rejectattr", whole, Value::from_function(filters::rejectattr)),
        ("replace", of_replace, Value::from_function(filters::replace)),
        ("reverse", whole, Value::from_function(filters::reverse)),
        ("round", glance, Value::from_function(filters::round)),
        ("safe", whole, Value::from_function(filters::safe)),
        ("select", whole, Value::from_function(filters::select)),
        ("selectattr", whole, Value::from_function(filters::selectattr)),
        ("slice", of_groups, Value::from_function(filters::slice)),
        ("sort", whole, Value::from_function(filters::sort)),
        ("split", whole, Value::from_function(filters::split)),
        ("string", whole, Value::from_function(filters::string)),
        ("sum", of_sum, Value::from_function(filters::sum)),
        ("title", whole, Value::from_function(filters::title)),
        ("tojson", of_json, Value::from_function(filters::tojson)),
        ("trim", whole, Value::from_function(filters::trim)),
        ("unique", whole, Value::from_function(filters::unique)),
        ("upper", whole, Value::from_function(filters::upper)),
        ("urlencode", whole, Value::from_function(urlencode)),
        ("zip", whole, Value::from_function(filters::zip)),
    ]
}

fn all_tests() -> Vec<(&'static str, Cost, Value)> {
    let equal = Value::from_function(tests::is_eq);
    let unequal = Value::from_function(tests::is_ne);
    let less = Value::from_function(tests::is_lt);
    let at_most = Value::from_function(tests::is_le);
    let greater = Value::from_function(tests::is_gt);
    let at_least = Value::from_function(tests::is_ge);
    vec![
        ("!=", whole, unequal.clone()),
        ("<", whole, less.clone()),
        ("<=", whole, at_most.clone()),
        ("==", whole, equal.clone()),
        (">", whole, greater.clone()),
        (">=", whole, at_least.clone()),
        ("boolean", glance, Value::from_function(tests::is_boolean)),
        ("defined", glance, Value::from_function(tests::is_defined)),
        ("divisibleby", glance, Value::from_function(tests::is_divisibleby)),
        ("endingwith", whole, Value::from_function(tests::is_endingwith)),
        ("eq", whole, equal.clone()),
        ("equalto", whole, equal),
        ("escaped", glance, Value::from_function(tests::is_safe)),
        ("even", glance, Value::from_function(tests::is_even)),
        ("false", glance, Value::from_function(tests::is_false)),
        ("filter", glance, Value::from_function(tests::is_filter)),
        ("float", glance, Value::from_function(tests::is_float)),
        ("ge", whole, at_least),
        ("greaterthan", whole, greater.clone()),
        ("gt", whole, greater),
        ("in", whole, Value::from_function(tests::is_in)),
        ("int", glance, Value::from_function(tests::is_integer)),
        ("integer", glance, Value::from_function(tests::is_integer)),
        ("iterable", glance, Value::from_function(tests::is_iterable)),
        ("le", whole, at_most),
        ("lessthan", whole, less.clone()),
        ("lower", whole, Value::from_function(tests::is_lower)),
        ("lt", whole, less),
        ("mapping", glance, Value::from_function(tests::is_mapping)),
        ("ne", whole, unequal),
        ("none", glance, Value::from_function(tests::is_none)),
        ("number", glance, Value::from_function(tests::is_number)),
        ("odd", glance, Value::from_function(tests::is_odd)),
        ("safe", glance, Value::from_function(tests::is_safe)),
        ("sameas", whole, Value::from_function(tests::is_sameas)),
        ("sequence", glance, Value::from_function(tests::is_sequence)),
        ("startingwith", whole, Value::from_function(tests::is_startingwith)),
        ("string", glance, Value::from_function(tests::is_string)),
        ("test", glance, Value::from_function(tests::is_test)),
        ("true", glance, Value::from_function(tests::is_true)),
        ("undefined", glance, Value::from_function(tests::is_undefined)),
        ("upper", whole, Value::from_function(tests::is_upper)),
    ]
}

/// What looks at no more than a part of fixed size.
fn glance(_: &[Value]) -> Result<usize, Error> {
    Ok(SMALL)
}

/// What looks at everything.
fn whole(arguments: &[Value]) -> Result<usize, Error> {
    Ok(arguments.iter().map(weigh).fold(0, usize::saturating_add))
}

/// What copies a list, but not what is in it.
fn of_items(arguments: &[Value]) -> Result<usize, Error> {
    let items = arguments.first().and_then(Value::len).unwrap_or(0);
    Ok(items.saturating_mul(SMALL).saturating_add(SMALL))
}

/// `batch` and `slice` make as many places as their argument says.
fn of_groups(arguments: &[Value]) -> Result<usize, Error> {
    let places = arguments.get(1).and_then(|places| usize::try_from(places.clone()).ok());
    let filled = places.unwrap_or(0).saturating_mul(2 * SMALL);
    Ok(whole(arguments)?.saturating_add(filled))
}

/// `replace` makes a copy of its last argument for each place where the second is found.
fn of_replace(arguments: &[Value]) -> Result<usize, Error> {
    let cost = whole(arguments)?;
    let [text, from, to] = arguments else { return Ok(cost) };
    if cost > BUDGET {
        return Ok(cost);
    }
    let places = text.to_string().matches(&from.to_string()).count();
    Ok(cost.saturating_add(places.saturating_mul(weigh(to))))
}

/// `join` makes a copy of what stands between for each item.
fn of_join(arguments: &[Value]) -> Result<usize, Error> {
    let cost = whole(arguments)?;
    let Some((list, further)) = arguments.split_first() else {
        return Ok(cost);
    };
    let between = whole(further)?;
    let items = list.len().unwrap_or(weigh(list) / SMALL);
    Ok(cost.saturating_add(items.saturating_mul(between)))
}

/// `format` prints each of its arguments at most as often as it has places, as wide as those say.
fn of_format(arguments: &[Value]) -> Result<usize, Error> {
    let cost = whole(arguments)?;
    let Some((format, further)) = arguments.split_first() else {
        return Ok(cost);
    };
    let format = format.to_string();
    let places = format.split('%').skip(1);
    let printed = places.clone().count().saturating_mul(whole(further)?);
    let mut wide = 0_usize;
    for place in places {
        // Behind a name in brackets, the flags, the width and the precision stand before the letter.
        let flags = place.strip_prefix('(').and_then(|named| named.split_once(')'));
        let flags = flags.map_or(place, |(_, flags)| flags);
        let flags = flags
            .split(|c: char| c.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        if flags.contains('*') {
            return Err(refused("found a width of *, expected a number"));
        }
        for number in flags
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
        {
            wide = wide.saturating_add(number.parse().unwrap_or(usize::MAX));
        }
    }
    Ok(cost.saturating_add(printed).saturating_add(wide))
}

/// `sum` adds numbers: text and lists would be copied again for each item.
fn of_sum(arguments: &[Value]) -> Result<usize, Error> {
    let named = arguments.last().and_then(|last| last.get_attr("start").ok());
    let starts = [arguments.get(2), named.as_ref()];
    let is_number = |start: &&Value| matches!(start.kind(), ValueKind::Number | ValueKind::Undefined | ValueKind::None);
    if !starts.iter().flatten().all(is_number) {
        return Err(refused("only numbers can be summed"));
    }
    whole(arguments)
}

/// `tojson` on one line.
fn of_json(arguments: &[Value]) -> Result<usize, Error> {
    if arguments.len() > 1 {
        return Err(refused("tojson takes no arguments here"));
    }
    whole(arguments)
}

/// About how much memory a value takes; counted no further than the budget goes.
pub(super) fn weigh(value: &Value) -> usize {
    let mut weight = 0_usize;
    let mut open = vec![value.clone()];
    while let Some(value) = open.pop() {
        weight = weight.saturating_add(SMALL + value.as_str().map_or(0, str::len));
        let Some(object) = value.as_object() else { continue };
        let room = BUDGET.saturating_sub(weight) / SMALL + 1;
        let repr = object.repr();
        if repr == ObjectRepr::Map {
            let pairs = object.try_iter_pairs().into_iter().flatten().take(room);
            pairs.for_each(|(name, value)| open.extend([name, value]));
        } else if matches!(repr, ObjectRepr::Seq | ObjectRepr::Iterable) {
            open.extend(object.try_iter().into_iter().flatten().take(room));
        }
        if weight.saturating_add(open.len().saturating_mul(SMALL)) > BUDGET {
            return BUDGET + 1;
        }
    }
    weight
}

/// Percent-encodes all but `A-Z a-z 0-9 - . _ ~` (RFC 3986, 2.3), for a part of a path or a query.
fn urlencode(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let mut encoded = String::new();
    for byte in value.to_string().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(encoded)
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}

#[derive(Debug)]
struct Timed {
    names: Value,
    until: Instant,
}

impl Object for Timed {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if Instant::now() > self.until {
            return Some(Value::from(refused("it takes too long")));
        }
        self.names.as_object()?.get_value_by_str(key)
    }
}
