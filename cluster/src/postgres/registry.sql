-- The plugins of a cluster. The records say which build of each plugin serves, and which one is being prepared. They have one revision:
-- each change names the one that it has read, so of two changes of the same records one is refused.
CREATE TABLE {schema}.registry (revision bigint NOT NULL);
INSERT INTO {schema}.registry VALUES (0);
CREATE TABLE {schema}.plugin (name text COLLATE "C" PRIMARY KEY, record jsonb NOT NULL);

-- What each start of a node says of a plugin. Those of dead nodes are kept as long as the rows of the nodes.
CREATE TABLE {schema}.plugin_report (
    plugin text COLLATE "C",
    epoch bigint,
    report jsonb NOT NULL,
    PRIMARY KEY (plugin, epoch)
) WITH (fillfactor = 50);

-- The bytes of builds, in parts. `epoch` is that of the node that has brought it last, and may be about to write a record that needs it.
CREATE TABLE {schema}.build (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    parts int NOT NULL,
    epoch bigint NOT NULL
);
CREATE TABLE {schema}.build_part (
    digest bytea REFERENCES {schema}.build ON DELETE CASCADE,
    part int,
    content bytea NOT NULL,
    PRIMARY KEY (digest, part)
);
ALTER TABLE {schema}.build_part ALTER COLUMN content SET STORAGE EXTERNAL;

-- Changes records, and the generations whose calls may write, if the revision is still `former`. A record of null is removed, and a
-- generation of null lets no call write. `kept` are the builds that all records need after the change. Returns 0 if it is done, 1 if the
-- revision is another one, 2 if a build isn't there as a whole.
CREATE FUNCTION {schema}.registry_change(
    my_epoch bigint, my_incarnation bytea, former bigint, names text[], contents text[],
    stores text[], generations bigint[], kept bytea[]
) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    present bigint;
BEGIN
    PERFORM {schema}.node_fence(my_epoch, my_incarnation);
    SELECT revision INTO STRICT present FROM {schema}.registry FOR UPDATE;
    IF present <> former THEN
        RETURN 1;
    END IF;
    IF EXISTS (
        SELECT FROM unnest(kept) AS needed (digest) WHERE NOT EXISTS (
            SELECT FROM {schema}.build WHERE build.digest = needed.digest
                AND build.parts = (SELECT count(*) FROM {schema}.build_part WHERE build_part.digest = needed.digest)
        )
    ) THEN
        RETURN 2;
    END IF;
    UPDATE {schema}.registry SET revision = former + 1;
    DELETE FROM {schema}.plugin USING unnest(names, contents) AS changed (name, content)
        WHERE plugin.name = changed.name AND changed.content IS NULL;
    INSERT INTO {schema}.plugin (name, record)
        SELECT changed.name, changed.content::jsonb FROM unnest(names, contents) AS changed (name, content)
        WHERE changed.content IS NOT NULL
        ON CONFLICT (name) DO UPDATE SET record = excluded.record;
    -- It waits for each plugin's turn to commit: all batches of the former generation have ended then.
    PERFORM {schema}.set_generation(next.store, next.generation)
        FROM unnest(stores, generations) AS next (store, generation);
    DELETE FROM {schema}.plugin_report WHERE NOT EXISTS (SELECT FROM {schema}.plugin WHERE plugin.name = plugin_report.plugin)
        OR NOT EXISTS (SELECT FROM {schema}.node WHERE node.epoch = plugin_report.epoch);
    -- Another living node may be about to need what it has brought. This node may be bringing another build, which isn't whole yet. A whole
    -- one that it is about to need is brought again.
    DELETE FROM {schema}.build WHERE build.digest <> ALL (kept) AND (
        build.epoch = my_epoch AND build.parts = (SELECT count(*) FROM {schema}.build_part WHERE build_part.digest = build.digest)
        OR NOT EXISTS (SELECT FROM {schema}.node WHERE node.epoch = build.epoch AND NOT node.is_dead)
    );
    RETURN 0;
END
$$;

-- Sets what a node says of plugins. A plugin without a record is left out.
CREATE FUNCTION {schema}.registry_report(
    my_epoch bigint, my_incarnation bytea, names text[], contents text[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_fence(my_epoch, my_incarnation);
    INSERT INTO {schema}.plugin_report (plugin, epoch, report)
        SELECT said.name, my_epoch, said.content::jsonb FROM unnest(names, contents) AS said (name, content)
        WHERE EXISTS (SELECT FROM {schema}.plugin WHERE plugin.name = said.name)
        ON CONFLICT (plugin, epoch) DO UPDATE SET report = excluded.report;
END
$$;

-- Says that a node brings a build of so many parts. Returns the parts that are there already.
CREATE FUNCTION {schema}.build_begin(
    my_epoch bigint, my_incarnation bytea, its_digest bytea, its_parts int
) RETURNS int[] LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_fence(my_epoch, my_incarnation);
    INSERT INTO {schema}.build VALUES (its_digest, its_parts, my_epoch)
        ON CONFLICT (digest) DO UPDATE SET epoch = excluded.epoch;
    RETURN ARRAY(SELECT part FROM {schema}.build_part WHERE digest = its_digest);
END
$$;

-- Adds a part of a build that was begun.
CREATE FUNCTION {schema}.build_add(
    my_epoch bigint, my_incarnation bytea, its_digest bytea, its_part int, its_content bytea
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_fence(my_epoch, my_incarnation);
    INSERT INTO {schema}.build_part VALUES (its_digest, its_part, its_content) ON CONFLICT DO NOTHING;
END
$$;
