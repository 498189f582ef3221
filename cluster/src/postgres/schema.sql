-- The cluster. Its identity keeps it apart from others on the same message server.
CREATE TABLE {schema}.cluster (id uuid NOT NULL);
INSERT INTO {schema}.cluster VALUES (gen_random_uuid());

-- Each start of a node, with its epoch and its random bits. `beat` is raised by each renewal. `ended` orders the dead by their deaths;
-- no time of the server is used. `listener_pid` and `listener_start` name the session that hears the bus for this node.
CREATE SEQUENCE {schema}.node_epoch;
CREATE TABLE {schema}.node (
    epoch bigint PRIMARY KEY,
    incarnation bytea NOT NULL CHECK (octet_length(incarnation) = 16),
    name text NOT NULL,
    version text NOT NULL,
    speaks_from int NOT NULL,
    speaks_to int NOT NULL,
    beat bigint NOT NULL DEFAULT 0,
    is_dead boolean NOT NULL DEFAULT false,
    is_draining boolean NOT NULL DEFAULT false,
    ended bigint,
    listener_pid int,
    listener_start timestamptz,
    -- All living nodes have the same of these. The mark is made from the secret of the cluster, and is null without one.
    lease_ms bigint NOT NULL,
    bus text NOT NULL,
    secret_mark bytea CHECK (octet_length(secret_mark) = 8)
) WITH (fillfactor = 10);
CREATE UNIQUE INDEX node_name ON {schema}.node (name) WHERE NOT is_dead;

-- The blocks from which nodes number their members: 2^24 numbers each, in 53 bits.
CREATE SEQUENCE {schema}.member_block AS bigint MAXVALUE 536870911 NO CYCLE;

-- The channel of the bus. The name of a channel has at most 63 bytes.
CREATE FUNCTION {schema}.bus_channel() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN length('bennu_{schema}') <= 63 THEN 'bennu_{schema}' ELSE 'bennu_' || md5('{schema}') END
$$;

-- Refuses to run in another isolation level: each statement of a function has to see what was committed before it.
CREATE FUNCTION {schema}.node_check() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the cluster needs the isolation level read committed' USING ERRCODE = 'BN011';
    END IF;
END
$$;

-- The key of the advisory lock of an epoch. What a node writes takes it shared, and what ends the node takes it exclusively.
-- An advisory lock is fair and writes nothing. Row locks could starve the one who ends the node.
CREATE FUNCTION {schema}.node_lock(of_epoch bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('{schema} node', of_epoch)
$$;

-- Ends the transaction if the node is dead, and keeps it alive until the transaction has ended. The check is a statement of its own,
-- so it sees what was committed while the lock was waited for. It comes before all other locks of a transaction.
CREATE FUNCTION {schema}.node_fence(my_epoch bigint, my_incarnation bytea) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_check();
    PERFORM pg_advisory_xact_lock_shared({schema}.node_lock(my_epoch));
    PERFORM 1 FROM {schema}.node WHERE epoch = my_epoch AND incarnation = my_incarnation AND NOT is_dead;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this node counts as dead' USING ERRCODE = 'BN010';
    END IF;
END
$$;

-- Adds a row for a node that starts, and returns it; or returns the row of the living node that is in its way: one of the same name,
-- or else one with which it has no version in common, or else one with other settings. A start whose answer was lost is asked for again
-- with the same bits.
CREATE FUNCTION {schema}.node_hello(
    my_name text, my_version text, my_incarnation bytea, my_from int, my_to int,
    my_lease_ms bigint, my_bus text, my_secret_mark bytea
) RETURNS SETOF {schema}.node LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    other {schema}.node;
BEGIN
    PERFORM {schema}.node_check();
    -- One start at a time: two without a common version would not see each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('{schema} node start', 0));
    SELECT * INTO other FROM {schema}.node
        WHERE NOT is_dead AND (
            name = my_name OR speaks_to < my_from OR speaks_from > my_to
            OR (lease_ms, bus, secret_mark) IS DISTINCT FROM (my_lease_ms, my_bus, my_secret_mark)
        )
        ORDER BY (name = my_name) DESC, (speaks_to < my_from OR speaks_from > my_to) DESC, epoch LIMIT 1;
    IF FOUND THEN
        RETURN NEXT other;
        RETURN;
    END IF;
    -- The last dead are kept, for the others to see and for people.
    DELETE FROM {schema}.node WHERE is_dead AND ended <= (
        SELECT ended FROM {schema}.node WHERE is_dead ORDER BY ended DESC OFFSET 100 LIMIT 1
    );
    RETURN QUERY
        INSERT INTO {schema}.node (epoch, incarnation, name, version, speaks_from, speaks_to, lease_ms, bus, secret_mark)
        VALUES (
            nextval('{schema}.node_epoch'), my_incarnation, my_name, my_version, my_from, my_to, my_lease_ms, my_bus, my_secret_mark
        ) RETURNING *;
    PERFORM pg_notify({schema}.bus_channel(), 'nodes');
END
$$;

-- Raises the beat of a node, and returns it; nothing if the node is dead, missing, or another one.
CREATE FUNCTION {schema}.node_renew(my_epoch bigint, my_incarnation bytea) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    raised bigint;
BEGIN
    PERFORM {schema}.node_check();
    UPDATE {schema}.node SET beat = beat + 1
        WHERE epoch = my_epoch AND incarnation = my_incarnation AND NOT is_dead RETURNING beat INTO raised;
    RETURN raised;
END
$$;

-- The living, and the last dead.
CREATE FUNCTION {schema}.node_list() RETURNS SETOF {schema}.node LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_check();
    RETURN QUERY SELECT * FROM {schema}.node ORDER BY epoch;
END
$$;

-- Sets a node dead whose transactions have ended, tells the others, and ends its listener: one that doesn't read would keep the queue of
-- notifications from being emptied. Its other sessions aren't ended: a commit that waits for a standby would become visible
-- without it.
CREATE FUNCTION {schema}.node_end(living {schema}.node) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE {schema}.node SET is_dead = true, ended = nextval('{schema}.node_epoch') WHERE epoch = living.epoch;
    PERFORM pg_notify({schema}.bus_channel(), 'nodes');
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid = living.listener_pid AND backend_start = living.listener_start AND usename = current_user
          AND pid <> pg_backend_pid();
END
$$;

-- Declares a node dead whose beat is the one that was seen for a whole lease. Returns whether it is dead now. It waits for the transactions of
-- that node that are under way; later ones wait for it, and are refused.
CREATE FUNCTION {schema}.node_declare_dead(of_epoch bigint, seen_beat bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    living {schema}.node;
BEGIN
    PERFORM {schema}.node_check();
    -- A node that has renewed isn't held up.
    SELECT * INTO living FROM {schema}.node WHERE epoch = of_epoch AND NOT is_dead;
    IF NOT FOUND OR living.beat <> seen_beat THEN
        RETURN living.epoch IS NULL;
    END IF;
    PERFORM pg_advisory_xact_lock({schema}.node_lock(of_epoch));
    SELECT * INTO living FROM {schema}.node WHERE epoch = of_epoch AND NOT is_dead FOR UPDATE;
    IF NOT FOUND OR living.beat <> seen_beat THEN
        RETURN living.epoch IS NULL;
    END IF;
    PERFORM {schema}.node_end(living);
    RETURN true;
END
$$;

-- Ends a node by its own wish.
CREATE FUNCTION {schema}.node_leave(my_epoch bigint, my_incarnation bytea) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    living {schema}.node;
BEGIN
    PERFORM {schema}.node_check();
    PERFORM pg_advisory_xact_lock({schema}.node_lock(my_epoch));
    SELECT * INTO living FROM {schema}.node
        WHERE epoch = my_epoch AND incarnation = my_incarnation AND NOT is_dead FOR UPDATE;
    IF FOUND THEN
        PERFORM {schema}.node_end(living);
    END IF;
END
$$;

-- Says that a node takes no new clients.
CREATE FUNCTION {schema}.node_drain(my_epoch bigint, my_incarnation bytea) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_check();
    UPDATE {schema}.node SET is_draining = true WHERE epoch = my_epoch AND incarnation = my_incarnation AND NOT is_draining;
    IF FOUND THEN
        PERFORM pg_notify({schema}.bus_channel(), 'nodes');
    END IF;
END
$$;

-- Says that this session hears the bus for a node. Returns whether the node is alive.
CREATE FUNCTION {schema}.node_listens(my_epoch bigint, my_incarnation bytea) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_check();
    UPDATE {schema}.node SET listener_pid = pg_backend_pid(),
            listener_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
        WHERE epoch = my_epoch AND incarnation = my_incarnation AND NOT is_dead;
    RETURN FOUND;
END
$$;

-- Sends the pieces of a flush, if the node is alive. With the lock of the fence, the notification of a node's death comes after all
-- pieces of that node: the order of the queue is that of the commits.
CREATE FUNCTION {schema}.bus_send(my_epoch bigint, my_incarnation bytea, pieces text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.node_fence(my_epoch, my_incarnation);
    PERFORM pg_notify({schema}.bus_channel(), piece) FROM unnest(pieces) AS piece;
END
$$;
