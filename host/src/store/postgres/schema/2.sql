UPDATE {schema}.version SET version = 2;

-- Several hosts on one store: the nodes of a cluster. What follows is used by them alone. A host without a cluster has the lock of
-- the store for itself (see `begin_writing`), and the nodes of a cluster share that lock. So both never write at the same time.

-- The plugins that nodes write for. The lock of a row is the plugin's turn to commit. `rev` is the revision of the last batch that
-- stored something. All writes after the revision `horizon` are in `log`. `generation` is the one that serves in the cluster, null
-- before the first one is set. Each batch updates a row, so pages have space for its next versions.
CREATE TABLE {schema}.head (
    plugin text COLLATE "C" PRIMARY KEY,
    rev bigint NOT NULL DEFAULT 0,
    horizon bigint NOT NULL DEFAULT 0,
    generation bigint
) WITH (fillfactor = 10);

-- The places that were written lately, each with the revision of its last write: also those whose row was deleted. A place begins with
-- its kind and its plugin, so no two plugins share one.
CREATE TABLE {schema}.log (
    place bytea PRIMARY KEY,
    plugin text COLLATE "C" NOT NULL,
    rev bigint NOT NULL
);
CREATE INDEX log_rev ON {schema}.log (plugin, rev);

-- The last batch of each node for each plugin: its answer, or no results if it was aborted because its answer was lost.
CREATE TABLE {schema}.batch (
    plugin text COLLATE "C",
    epoch bigint,
    number bigint NOT NULL,
    rev bigint NOT NULL,
    results int[],
    sizes bigint[],
    PRIMARY KEY (plugin, epoch)
) WITH (fillfactor = 50);

-- The bytes of a row that count for the quota of its plugin: those of keys, and of answers to requests. `content` has that many bytes.
CREATE FUNCTION {schema}.weight(place bytea, content int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN get_byte(place, 0) IN (1, 9) THEN octet_length(place) - 2 - get_byte(place, 1) + content ELSE 0 END::bigint
$$;

-- Locks the head of a plugin until the end of the transaction: the plugin's turn to commit.
CREATE FUNCTION {schema}.lock_head(my_plugin text) RETURNS {schema}.head LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    mine {schema}.head;
BEGIN
    SELECT * INTO mine FROM {schema}.head WHERE plugin = my_plugin FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO {schema}.head (plugin) VALUES (my_plugin) ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT mine FROM {schema}.head WHERE plugin = my_plugin FOR UPDATE;
    END IF;
    RETURN mine;
END
$$;

-- Whether no row of these spans was written after a revision. One before the horizon may have been. One statement sees one moment, so no
-- lock is needed. Also returns the revision of that moment.
CREATE FUNCTION {schema}.look(
    my_plugin text, since bigint, froms bytea[], untils bytea[], OUT revision bigint, OUT is_current boolean
) LANGUAGE sql STABLE AS $$
    SELECT mine.rev, since >= mine.rev OR cardinality(froms) = 0 OR since >= mine.horizon AND NOT EXISTS (
        SELECT FROM unnest(froms, untils) AS span (first, past) WHERE EXISTS (
            SELECT FROM {schema}.log WHERE log.place >= span.first AND log.place < span.past AND log.rev > since
        )
    )
    -- A plugin that nothing was written for has no head.
    FROM (SELECT coalesce(max(rev), 0), coalesce(max(horizon), 0) FROM {schema}.head WHERE plugin = my_plugin) AS mine (rev, horizon)
$$;

-- Commits drafts of one plugin: of each draft all writes, or none. Returns the revision, and a result for each draft:
--   0 it is stored, with the returned revision; or it writes nothing, and what it has read is still the same
--   1 conflict: something that it has read was written since
--   2 the plugin would have more bytes than its quota: `sizes` has how many
--   3 another generation of the plugin serves
-- `seen` has the revision that each draft has read, `span_…` what it has read, and `write_…` what it writes, in the order of the
-- drafts, which are counted from 1. No draft has read what an earlier one of the batch writes: the node sees to that. A write without
-- content deletes. A quota of null is none. `opening` is the epoch of the last host that wrote without a cluster.
CREATE FUNCTION {schema}.commit_drafts(
    my_epoch bigint, my_incarnation bytea, opening bigint, my_plugin text, my_number bigint,
    seen bigint[], generations bigint[], quotas bigint[],
    span_drafts int[], span_froms bytea[], span_untils bytea[],
    write_drafts int[], write_places bytea[], write_contents bytea[],
    OUT revision bigint, OUT results int[], OUT sizes bigint[]
) LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    usage_place CONSTANT bytea := '\x00'::bytea || convert_to('usage:' || my_plugin, 'UTF8');
    prefix CONSTANT bytea := set_byte('\x00', 0, octet_length(my_plugin)) || convert_to(my_plugin, 'UTF8');
    count CONSTANT int := cardinality(seen);
    writing {schema}.writer;
    mine {schema}.head;
    usage_before bigint;
    usage bigint;
    -- For each write: the counted bytes of its row, of the row that it replaces, and the earlier write of this batch to the same place.
    weights bigint[];
    replaced bigint[];
    earlier int[];
    first int;
    next int := 1;
    change bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a batch needs the isolation level read committed' USING ERRCODE = 'BN001';
    END IF;
    -- Before any lock of a row: whoever declares a node dead waits for its batches, and they must not wait for anybody who waits for that.
    PERFORM {schema}.node_fence(my_epoch, my_incarnation);
    IF NOT pg_try_advisory_xact_lock_shared({writer_lock}) THEN
        RAISE EXCEPTION 'a host without a cluster writes to the store' USING ERRCODE = 'BN002';
    END IF;
    SELECT * INTO STRICT writing FROM {schema}.writer;
    IF writing.epoch <> opening THEN
        RAISE EXCEPTION 'the host % has written to the store without the cluster, at %', writing.host, writing.since
            USING ERRCODE = 'BN002';
    END IF;
    -- Rooms and entries have no log: only the owner of their topic may write them. Nodes have no boards of jobs and deliveries.
    IF EXISTS (
        SELECT FROM unnest(write_places) AS write (place)
        WHERE get_byte(write.place, 0) NOT IN (1, 8, 9, 10) OR substring(write.place FROM 2 FOR octet_length(prefix)) <> prefix
    ) THEN
        RAISE EXCEPTION 'rows of this kind are not written by the nodes of a cluster' USING ERRCODE = 'BN004';
    END IF;
    mine := {schema}.lock_head(my_plugin);
    IF EXISTS (SELECT FROM {schema}.batch WHERE batch.plugin = my_plugin AND batch.epoch = my_epoch AND batch.number >= my_number) THEN
        RAISE EXCEPTION 'the batch % was already stored or refused', my_number USING ERRCODE = 'BN003';
    END IF;

    SELECT coalesce(array_agg(CASE
        -- Null on either side: the draft isn't of a call, or no generation serves.
        WHEN draft.generation IS NOT NULL AND draft.generation IS DISTINCT FROM mine.generation THEN 3
        WHEN late.at IS NOT NULL THEN 1
        ELSE 0
    END ORDER BY draft.at), ARRAY[]::int[])
    INTO results
    FROM unnest(generations) WITH ORDINALITY AS draft (generation, at)
    LEFT JOIN (
        SELECT DISTINCT span.draft FROM unnest(span_drafts, span_froms, span_untils) AS span (draft, first, past)
        WHERE seen[span.draft] < mine.rev AND (seen[span.draft] < mine.horizon OR EXISTS (
            SELECT FROM {schema}.log WHERE log.place >= span.first AND log.place < span.past AND log.rev > seen[span.draft]
        ))
    ) AS late (at) ON late.at = draft.at;

    SELECT
        array_agg(CASE WHEN write.content IS NULL THEN 0 ELSE {schema}.weight(write.place, octet_length(write.content)) END
            ORDER BY write.at),
        array_agg(CASE WHEN data.place IS NULL THEN 0 ELSE {schema}.weight(data.place, octet_length(data.value)) END
            ORDER BY write.at),
        array_agg(write.earlier ORDER BY write.at)
    INTO weights, replaced, earlier
    FROM (
        SELECT place, content, at, (lag(at) OVER (PARTITION BY place ORDER BY at))::int
        FROM unnest(write_places, write_contents) WITH ORDINALITY AS one (place, content, at)
    ) AS write (place, content, at, earlier)
    LEFT JOIN {schema}.data ON data.place = write.place;
    SELECT ('x' || encode(data.value, 'hex'))::bit(64)::bigint INTO usage_before FROM {schema}.data WHERE data.place = usage_place;
    usage := coalesce(usage_before, 0);
    sizes := array_fill(0::bigint, ARRAY[count]);
    FOR draft IN 1 .. count LOOP
        first := next;
        change := 0;
        WHILE write_drafts[next] = draft LOOP
            IF earlier[next] IS NOT NULL THEN
                replaced[next] := weights[earlier[next]];
            END IF;
            change := change + weights[next] - replaced[next];
            next := next + 1;
        END LOOP;
        -- A plugin that is over its quota already may still delete.
        IF results[draft] = 0 AND change > 0 AND usage + change > quotas[draft] THEN
            results[draft] := 2;
            sizes[draft] := usage + change;
        END IF;
        IF results[draft] = 0 THEN
            usage := usage + change;
        ELSIF next > first THEN
            -- A later write to the same place replaces what this one would have replaced.
            weights[first : next - 1] := replaced[first : next - 1];
        END IF;
    END LOOP;

    revision := mine.rev;
    IF EXISTS (SELECT FROM unnest(write_drafts) AS write (draft) WHERE results[write.draft] = 0) THEN
        revision := mine.rev + 1;
        WITH final AS MATERIALIZED (
            SELECT DISTINCT ON (write.place) write.place, write.content
            FROM unnest(write_drafts, write_places, write_contents) WITH ORDINALITY AS write (draft, place, content, at)
            WHERE results[write.draft] = 0 ORDER BY write.place, write.at DESC
        ), deleted AS (
            DELETE FROM {schema}.data USING final WHERE data.place = final.place AND final.content IS NULL
        ), written AS (
            INSERT INTO {schema}.data (place, value) SELECT final.place, final.content FROM final WHERE final.content IS NOT NULL
            ON CONFLICT (place) DO UPDATE SET value = excluded.value
        )
        -- No draft depends on the times at which rows expire: they are hints.
        INSERT INTO {schema}.log (place, plugin, rev)
        SELECT final.place, my_plugin, mine.rev + 1 FROM final WHERE get_byte(final.place, 0) NOT IN (8, 10)
        ON CONFLICT (place) DO UPDATE SET rev = excluded.rev;
        UPDATE {schema}.head SET rev = mine.rev + 1 WHERE head.plugin = my_plugin;
    END IF;
    IF usage = 0 AND usage_before IS NOT NULL THEN
        DELETE FROM {schema}.data WHERE data.place = usage_place;
    ELSIF usage <> coalesce(usage_before, 0) THEN
        INSERT INTO {schema}.data (place, value) VALUES (usage_place, int8send(usage))
        ON CONFLICT (place) DO UPDATE SET value = excluded.value;
    END IF;
    PERFORM {schema}.answer_batch(my_plugin, my_epoch, my_number, revision, results, sizes);
END
$$;

-- Notes the answer to a batch.
CREATE FUNCTION {schema}.answer_batch(
    my_plugin text, my_epoch bigint, my_number bigint, revision bigint, its_results int[], its_sizes bigint[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO {schema}.batch VALUES (my_plugin, my_epoch, my_number, revision, its_results, its_sizes)
    ON CONFLICT (plugin, epoch) DO UPDATE
    SET number = excluded.number, rev = excluded.rev, results = excluded.results, sizes = excluded.sizes;
END
$$;

-- Returns the answer of a batch that was lost. Without results: nothing of it is stored, and the database refuses the number from now
-- on, also if the batch still waits somewhere.
CREATE FUNCTION {schema}.settle_drafts(
    my_epoch bigint, my_incarnation bytea, my_plugin text, my_number bigint,
    OUT revision bigint, OUT results int[], OUT sizes bigint[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last {schema}.batch;
BEGIN
    -- It waits for a batch that is being written: that one has the lock.
    PERFORM {schema}.lock_head(my_plugin);
    SELECT * INTO last FROM {schema}.batch WHERE batch.plugin = my_plugin AND batch.epoch = my_epoch;
    IF last.number >= my_number THEN
        IF last.number > my_number THEN
            RAISE EXCEPTION 'the batch % is older than the last one, %', my_number, last.number USING ERRCODE = 'BN003';
        END IF;
        SELECT last.rev, last.results, last.sizes INTO revision, results, sizes;
        RETURN;
    END IF;
    -- The batches of dead nodes are forgotten. Read without their lock: whoever forgets them has the lock of the head.
    IF NOT EXISTS (
        SELECT FROM {schema}.node WHERE node.epoch = my_epoch AND node.incarnation = my_incarnation AND NOT node.is_dead
    ) THEN
        RAISE EXCEPTION 'this node counts as dead' USING ERRCODE = 'BN010';
    END IF;
    PERFORM {schema}.answer_batch(my_plugin, my_epoch, my_number, 0, NULL, NULL);
END
$$;

-- Forgets writes up to a revision, at most `most` of them, and the batches of dead nodes. Drafts that have read an earlier revision have a
-- conflict from now on. Returns how many writes were forgotten.
CREATE FUNCTION {schema}.prune_log(my_plugin text, up_to bigint, most int) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    mine {schema}.head;
    pruned bigint;
    forgotten bigint;
BEGIN
    mine := {schema}.lock_head(my_plugin);
    pruned := greatest(mine.horizon, least(up_to, mine.rev));
    IF pruned > mine.horizon THEN
        UPDATE {schema}.head SET horizon = pruned WHERE head.plugin = my_plugin;
    END IF;
    DELETE FROM {schema}.log WHERE log.place = ANY (ARRAY(
        SELECT old.place FROM {schema}.log AS old WHERE old.plugin = my_plugin AND old.rev <= pruned LIMIT most
    ));
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    DELETE FROM {schema}.batch WHERE batch.plugin = my_plugin
        AND NOT EXISTS (SELECT FROM {schema}.node WHERE node.epoch = batch.epoch AND NOT node.is_dead);
    RETURN forgotten;
END
$$;

-- Lets only calls of one generation of a plugin write from now on; with null, none. All batches of other generations have ended then.
-- A draft without a generation isn't of a call, and isn't refused: the host removes expired keys.
CREATE FUNCTION {schema}.set_generation(my_plugin text, latter bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.lock_head(my_plugin);
    UPDATE {schema}.head SET generation = latter WHERE head.plugin = my_plugin;
END
$$;
