//! From the list of effects to what there is of each of them: one of all, and what is asked of it goes to its kind.

/// Makes the types and functions that have a case for each kind of effect. A kind is named by its file and its value, and
/// both are one name: `file_of_it::FileOfIt`.
macro_rules! effects {
    ($($file:ident::$Kind:ident,)+) => {
        /// An effect of an action of a rule: values only, nothing has happened yet.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "action", rename_all = "snake_case")]
        pub(crate) enum Effect {
            $($Kind($file::$Kind),)+
        }

        /// What came of an effect.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub(crate) enum Done {
            $($Kind(<$file::$Kind as Kind>::Done),)+
        }

        /// An action as it stands in a rule's file.
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum ActionFile {
            $($Kind(<$file::$Kind as Kind>::File),)+
        }

        /// An action of a rule, compiled: evaluated, it is an effect.
        #[derive(Debug)]
        pub(super) enum Action {
            $($Kind(<$file::$Kind as Kind>::Action),)+
        }

        /// Each kind's file and value.
        #[cfg(test)]
        pub(super) const KINDS: &[(&str, &str)] = &[$((stringify!($file), stringify!($Kind)),)+];

        impl ActionFile {
            /// Makes an action of it; what is wrong with it is noted.
            pub(super) fn check(&self, checker: &mut Checker<'_>, sees: &Sees<'_>) -> Option<Action> {
                match self {
                    $(Self::$Kind(written) => <$file::$Kind>::check(written, checker, sees).map(Action::$Kind),)+
                }
            }
        }

        impl Action {
            /// As it is called in the file.
            pub(super) fn kind(&self) -> &'static str {
                match self {
                    $(Self::$Kind(_) => stringify!($file),)+
                }
            }

            /// Evaluates its expressions.
            pub(super) fn eval(&self, names: &Names) -> Result<Effect, EvalError> {
                match self {
                    $(Self::$Kind(action) => action.eval(names).map(Effect::$Kind),)+
                }
            }

            /// All variables it reads.
            pub(super) fn paths(&self) -> Vec<String> {
                match self {
                    $(Self::$Kind(action) => action.paths(),)+
                }
            }

            /// The type of event that it emits.
            pub(super) fn emits(&self) -> Option<&str> {
                match self {
                    $(Self::$Kind(action) => action.emits(),)+
                }
            }

            /// The variables that hold the secrets with which it shows who it is.
            pub(super) fn secrets(&self) -> Vec<&str> {
                match self {
                    $(Self::$Kind(action) => action.secrets(),)+
                }
            }
        }

        impl Effect {
            /// Says to `known`, the facts about an entity, what it makes of them.
            pub(crate) fn recall(&self, entity: &str, known: &mut Map<String, Value>) {
                match self {
                    $(Self::$Kind(effect) => effect.recall(entity, known),)+
                }
            }

            /// The action written in Rust that it runs when its event is judged.
            pub(crate) fn runs(&self) -> Option<&str> {
                match self {
                    $(Self::$Kind(effect) => effect.runs(),)+
                }
            }

            fn reaches(&self) -> Option<Reaches<'_>> {
                match self {
                    $(Self::$Kind(effect) => effect.reaches(),)+
                }
            }
        }

        impl Made<'_, Effect> {
            /// The event that it tells of.
            ///
            /// # Errors
            /// [`NotEmitted`] when it is none.
            pub(crate) fn emitted(&self, catalogue: &Catalogue, now: DateTime<Utc>) -> Result<Option<Envelope>, NotEmitted> {
                match self.effect {
                    $(Effect::$Kind(effect) => <$file::$Kind>::emitted(&self.with(effect), catalogue, now),)+
                }
            }
        }

        /// Writes the effects of a batch, one kind after the other.
        async fn write_each(
            all: &[Made<'_, Effect>],
            batch: &Batch<'_>,
            connection: &mut PgConnection,
        ) -> sqlx::Result<Vec<Done>> {
            let mut done = BTreeMap::new();
            $(
                let of_kind = all.iter().enumerate().filter_map(|(place, made)| {
                    let Effect::$Kind(effect) = made.effect else { return None };
                    Some((place, made.with(effect)))
                });
                let (places, of_kind): (Vec<usize>, Vec<Made<'_, $file::$Kind>>) = of_kind.unzip();
                if !of_kind.is_empty() {
                    let written = <$file::$Kind>::write(&of_kind, batch, connection).await?;
                    done.extend(places.into_iter().zip(written.into_iter().map(Done::$Kind)));
                }
            )+
            Ok(done.into_values().collect())
        }

        /// What is to be told of these after the commit.
        pub(crate) fn after_commit<'a>(all: impl IntoIterator<Item = &'a Done>) -> AfterCommit {
            let mut after = AfterCommit::default();
            for done in all {
                match done {
                    $(Done::$Kind(done) => <$file::$Kind>::committed(done, &mut after),)+
                }
            }
            after
        }

        /// An effect as outcomes have it, on one line for people.
        pub(crate) fn line(effect: &Value) -> String {
            match effect["action"].as_str().unwrap_or_default() {
                $(kind if kind == stringify!($file) => <$file::$Kind>::line(effect),)+
                other => format!("{other} {effect}"),
            }
        }

        /// What is to be said of the effects of a rule when its event is explained, by the rule's outcome.
        pub(crate) fn remarks(rule: &Value) -> Vec<Remark> {
            let all = |name: &str| rule[name].as_array().into_iter().flatten();
            let mut remarks = Vec::new();
            $(
                for (effect, done) in all("effects").zip(all("done")) {
                    if effect["action"] == stringify!($file) {
                        remarks.extend(<$file::$Kind>::remarks(effect, done));
                    }
                }
            )+
            remarks
        }
    };
}

pub(super) use effects;
