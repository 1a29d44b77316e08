-- What the keys of turns are made of.

comment on column turn_answers.key is 'SHA-256 of all that the turn holds, contexts in any order, and its response id';
comment on column late_replies.key is 'SHA-256 of the question: session, API, intent, language, parameters, and all else that the intent''s handler can read';
