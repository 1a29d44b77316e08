-- Who was refused stands on the audit trail, too.

create index event_audit_refused on event_audit (id) where action = 'refused';
comment on table event_audit is 'What was done by hand or at the end of events'' tries, and who was refused; never changed';
comment on column event_audit.actor is 'Who; rejoinder: the service itself; caller at a door, source and its name: who was refused';
comment on column event_audit.action is 'dead, redrive, discard, replay, release, forget, failed or refused';
comment on column event_audit.detail is 'The error, the reason that was given, what was reached, or how often it was refused';
