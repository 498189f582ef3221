-- The version of this schema.
CREATE TABLE {schema}.version (version int NOT NULL);
INSERT INTO {schema}.version VALUES (1);

-- All rows of the store. `place` has the kind (one byte), the length of the plugin's name (one byte), the name, and the key.
-- Values aren't compressed: most are small, or compressed by the plugin.
CREATE TABLE {schema}.data (place bytea PRIMARY KEY, value bytea NOT NULL);
ALTER TABLE {schema}.data ALTER COLUMN value SET STORAGE EXTERNAL;

-- The host that writes. Its epoch is in each of its batches. `batch` is the number of the last batch that was stored or refused,
-- and `refused` that of the last one that was refused because its answer was lost.
CREATE TABLE {schema}.writer (
    epoch bigint NOT NULL,
    batch bigint NOT NULL,
    refused bigint NOT NULL,
    host text NOT NULL,
    since timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO {schema}.writer VALUES (0, 0, 0, '', now());

-- The rows with their parts, for people. Nothing else uses it.
CREATE VIEW {schema}.content AS
SELECT
    (ARRAY['key', 'room', 'room before', 'entry', 'entry before', 'sums', 'job', 'expiry', 'answer', 'answer expiry', 'delivery'])[get_byte(place, 0)]
        AS kind,
    convert_from(substring(place FROM 3 FOR get_byte(place, 1)), 'UTF8') AS plugin,
    substring(place FROM 3 + get_byte(place, 1)) AS key,
    value
FROM {schema}.data
WHERE get_byte(place, 0) > 0;

-- Stores a batch: all of it, or nothing.
CREATE FUNCTION {schema}.commit_batch(
    my_epoch bigint, number bigint, places bytea[], contents bytea[], removed bytea[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    writing {schema}.writer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a batch needs the isolation level read committed' USING ERRCODE = 'BN001';
    END IF;
    SELECT * INTO STRICT writing FROM {schema}.writer FOR UPDATE;
    IF writing.epoch <> my_epoch THEN
        RAISE EXCEPTION 'the host % has taken over the store at %', writing.host, writing.since USING ERRCODE = 'BN002';
    END IF;
    IF number <= writing.batch THEN
        RAISE EXCEPTION 'the batch % was already stored or refused', number USING ERRCODE = 'BN003';
    END IF;
    UPDATE {schema}.writer SET batch = number;
    DELETE FROM {schema}.data WHERE place = ANY (removed);
    INSERT INTO {schema}.data (place, value) SELECT * FROM unnest(places, contents)
        ON CONFLICT (place) DO UPDATE SET value = excluded.value;
END
$$;

-- Whether a batch is stored whose answer was lost. If it isn't, it is refused from now on, also if it only waits somewhere.
CREATE FUNCTION {schema}.settle_batch(my_epoch bigint, number bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    writing {schema}.writer;
BEGIN
    SELECT * INTO STRICT writing FROM {schema}.writer FOR UPDATE;
    IF writing.epoch <> my_epoch THEN
        RAISE EXCEPTION 'the host % has taken over the store at %', writing.host, writing.since USING ERRCODE = 'BN002';
    END IF;
    IF number <= writing.batch THEN
        RETURN writing.refused <> number;
    END IF;
    UPDATE {schema}.writer SET batch = number, refused = number;
    RETURN false;
END
$$;

-- Makes a host the one that writes, and returns its epoch. The host has the lock of the store.
CREATE FUNCTION {schema}.begin_writing(name text) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    UPDATE {schema}.writer SET epoch = epoch + 1, batch = 0, refused = 0, host = name, since = now() RETURNING epoch
$$;
