-- Who has shown who they are, in which conversation, and for how long that counts.

alter table conversations add column verified_until timestamptz;
comment on column conversations.verified_until is 'Until when the user counts as verified; null: nobody has shown who they are';

alter table late_replies add column identity text;
comment on column late_replies.identity is 'The user who was verified when the reply was made, and to whom alone it is given; the session''s own name where nobody was; null: it is the same for all';
