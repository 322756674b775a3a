-- What GET /messages and GET /stats answer, of the messages of all receivers, in one snapshot. All of these may be left out:
--   psql -f postgres-questions.sql -v from=+4915207777777 -v to=+14155550100 -v since=2025-01-15 -v q=hello \
--     -v limit=50 -v offset=0 -v after=MESSAGE_ID
-- after is the last message of the page before: a page behind it costs the same at any depth.
\set QUIET on
\set ON_ERROR_STOP on
\if :{?limit}
\else
	\set limit 50
\endif
\if :{?offset}
\else
	\set offset 0
\endif
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
-- A time without a zone is UTC.
SET LOCAL timezone = 'UTC';
SET LOCAL standard_conforming_strings = on;

-- An empty value is no filter.
\if :{?from}
\else
	\set from ''
\endif
\if :{?to}
\else
	\set to ''
\endif
\if :{?since}
\else
	\set since ''
\endif
\if :{?q}
\else
	\set q ''
\endif
\if :{?after}
\else
	\set after ''
\endif
SELECT :'from' <> '' AS has_from, :'to' <> '' AS has_to, :'since' <> '' AS has_since, :'q' <> '' AS has_q, :'after' <> '' AS has_after \gset

\set filters 'TRUE'
\if :has_from
	\set filters :filters ' AND from_msisdn = ' :'from'
\endif
\if :has_to
	\set filters :filters ' AND to_msisdn = ' :'to'
\endif
\if :has_since
	-- A ts without its Z and the zeros before it compares bytewise like its instant, whose fraction has up to nine digits.
	SELECT instant AS second, rtrim(to_char(instant, 'YYYY-MM-DD"T"HH24:MI:SS') || coalesce(substring(:'since' FROM '\.\d+'), ''), '.0') AS key
		FROM (SELECT regexp_replace(:'since', '\.\d+', '')::timestamptz AS instant) AS given \gset since_
	\set filters :filters ' AND sent_at >= ' :'since_second' ' AND rtrim(ts, \'Z.0\') COLLATE "C" >= ' :'since_key'
\endif
\if :has_q
	-- % and _ are ordinary characters.
	SELECT '%' || regexp_replace(messages_fold(:'q'), '([\\%_])', '\\\1', 'g') || '%' AS pattern \gset q_
	\set filters :filters ' AND messages_fold(text) LIKE ' :'q_pattern'
\endif
\set page :filters
\if :has_after
	SELECT coalesce(max(sent_at)::text, 'infinity') AS sent_at, coalesce(max(rtrim(ts, 'Z.0')), '') AS key FROM messages
		WHERE message_id = :'after' \gset after_
	\set page :page ' AND (sent_at, rtrim(ts, \'Z.0\') COLLATE "C", message_id) > (' :'after_sent_at' ', ' :'after_key' ', ' :'after' ')'
\endif

-- The page.
SELECT message_id, from_msisdn AS "from", to_msisdn AS "to", ts, text FROM messages WHERE :page
	ORDER BY sent_at, rtrim(ts, 'Z.0') COLLATE "C", message_id LIMIT :limit OFFSET :offset;
-- How many there are on all pages.
SELECT count(*) AS total FROM messages WHERE :filters;

-- The figures.
SELECT count(*) AS total_messages, count(DISTINCT from_msisdn) AS senders_count,
	(SELECT ts FROM messages ORDER BY sent_at, rtrim(ts, 'Z.0') COLLATE "C", message_id LIMIT 1) AS first_message_ts,
	(SELECT ts FROM messages WHERE sent_at IS NOT NULL
		ORDER BY sent_at DESC, rtrim(ts, 'Z.0') COLLATE "C" DESC, message_id DESC LIMIT 1) AS last_message_ts
	FROM messages;
SELECT from_msisdn AS "from", count(*) AS count FROM messages GROUP BY from_msisdn ORDER BY count DESC, from_msisdn LIMIT 10;
-- Who took how many of them, and when the last one came in here.
SELECT receiver, count(*) AS count, max(stored_at) AS last_stored_at FROM messages GROUP BY receiver ORDER BY receiver;
COMMIT;
