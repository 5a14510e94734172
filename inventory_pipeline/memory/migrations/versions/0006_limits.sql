-- What may still be asked of each system, for all processes of the hub. The arithmetic is that of
-- core/limits.py (Filling). One call is one statement, so that a process that stops or dies between
-- two calls holds no lock. Moments are the server's own clock: the processes' may differ.
CREATE TABLE hub.limits (
    system text NOT NULL,
    name text NOT NULL,
    declared float8[] NOT NULL,         -- capacity, per_second, window_s as the connector gives them
    capacity float8 NOT NULL,           -- the same as the system told them since; 0: no number
    per_second float8 NOT NULL,         -- 0: a window
    window_s float8 NOT NULL,
    level float8 NOT NULL,              -- below 0: promised to callers that wait for it
    as_of timestamptz NOT NULL,         -- of level; of a window: when it began
    quiet_until timestamptz NOT NULL,
    PRIMARY KEY (system, name)
) WITH (fillfactor = 20);               -- one page a limit or so: every update stays in place

-- The limit's row, locked and filled up until now. Nothing is stored yet.
CREATE FUNCTION hub.limit_filled(
    p_system text, p_name text, p_declared float8[], p_at timestamptz
) RETURNS hub.limits LANGUAGE plpgsql AS $$
DECLARE
    filled hub.limits;
    asked_at timestamptz;
    elapsed float8;
    begun float8;
BEGIN
    SELECT * INTO filled FROM hub.limits WHERE system = p_system AND name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO hub.limits
        VALUES (p_system, p_name, p_declared, p_declared[1], p_declared[2], p_declared[3],
                p_declared[1], coalesce(p_at, clock_timestamp()), 'epoch')
        ON CONFLICT DO NOTHING;
        SELECT * INTO STRICT filled FROM hub.limits
        WHERE system = p_system AND name = p_name FOR UPDATE;
    END IF;
    -- Read after the lock is held: time must not run backwards from one caller to the next.
    asked_at := coalesce(p_at, clock_timestamp());
    filled.quiet_until := least(filled.quiet_until, asked_at + interval '1 hour');
    elapsed := greatest(0, extract(epoch FROM asked_at - filled.as_of)::float8);
    IF filled.per_second > 0 THEN
        filled.level := least(filled.capacity, filled.level + elapsed * filled.per_second);
        filled.as_of := asked_at;
    ELSIF filled.window_s > 0 THEN
        begun := floor(elapsed / filled.window_s);
        filled.level := least(filled.capacity, filled.level + begun * filled.capacity);
        filled.as_of := CASE WHEN filled.level < filled.capacity
            THEN least(filled.as_of, asked_at) + begun * filled.window_s * interval '1 second'
            ELSE asked_at END;
    ELSE
        filled.as_of := asked_at;
    END IF;
    RETURN filled;
END $$;

-- A wish for p_cost units: whether they are taken, and after how many seconds they are there
-- (core/limits.py: Filling.ask).
CREATE FUNCTION hub.limit_take(
    p_system text, p_name text, p_declared float8[], p_cost float8, p_patience_s float8,
    p_urgent boolean, p_at timestamptz DEFAULT NULL,
    OUT granted boolean, OUT wait_s float8, OUT cost float8
) LANGUAGE plpgsql AS $$
DECLARE
    l hub.limits;
    at timestamptz;
    missing float8;
BEGIN
    l := hub.limit_filled(p_system, p_name, p_declared, p_at);
    at := coalesce(p_at, clock_timestamp());
    IF l.declared <> p_declared THEN  -- another release or another hub.yaml: learnt anew
        l.declared := p_declared;
        l.as_of := CASE WHEN l.window_s > 0 AND p_declared[3] > 0 THEN l.as_of ELSE at END;
        l.capacity := p_declared[1];
        l.per_second := p_declared[2];
        l.window_s := p_declared[3];
        l.level := least(l.level, l.capacity);
    END IF;
    cost := least(p_cost, l.capacity);
    missing := cost - l.level;
    IF NOT p_urgent THEN
        missing := missing + least(0.2 * l.capacity, l.capacity - cost);
    END IF;
    wait_s := CASE
        WHEN missing <= 0 OR l.capacity = 0 THEN 0
        WHEN l.per_second > 0 THEN missing / l.per_second
        ELSE ceil(missing / l.capacity) * l.window_s - extract(epoch FROM at - l.as_of)::float8
    END;
    wait_s := greatest(0, wait_s, CASE WHEN l.quiet_until > at
        THEN extract(epoch FROM l.quiet_until - at)::float8 ELSE 0 END);
    granted := wait_s <= CASE WHEN p_urgent THEN p_patience_s ELSE 0 END;
    IF granted THEN
        l.level := l.level - cost;
    END IF;
    UPDATE hub.limits SET
        declared = l.declared, capacity = l.capacity, per_second = l.per_second,
        window_s = l.window_s, level = l.level, as_of = l.as_of, quiet_until = l.quiet_until
    WHERE system = p_system AND name = p_name;
END $$;

-- The system's own word (core/limits.py: Filling.heard). p_numbers: NULL where it told none.
CREATE FUNCTION hub.limit_told(
    p_system text, p_name text, p_declared float8[], p_numbers float8[], p_remaining float8,
    p_taken_meanwhile float8, p_put_back float8, p_resets_in_s float8,
    p_quiet_s float8, p_at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    l hub.limits;
    at timestamptz;
    begun timestamptz;
    ahead float8;
    old boolean := false;
BEGIN
    l := hub.limit_filled(p_system, p_name, p_declared, p_at);
    at := coalesce(p_at, clock_timestamp());
    IF p_numbers IS NOT NULL THEN
        l.level := l.level + p_numbers[1] - l.capacity;
        l.as_of := CASE WHEN l.window_s > 0 AND p_numbers[3] > 0 THEN l.as_of ELSE at END;
        l.capacity := p_numbers[1];
        l.per_second := p_numbers[2];
        l.window_s := p_numbers[3];
    END IF;
    l.level := least(least(l.level, l.capacity) + p_put_back, l.capacity);
    IF p_resets_in_s IS NOT NULL AND l.window_s > 0 THEN
        begun := at + (least(p_resets_in_s, l.window_s) - l.window_s) * interval '1 second';
        ahead := extract(epoch FROM begun - l.as_of)::float8 / l.window_s;
        old := ahead <= -0.9;  -- an answer of the last window, arrived in this one
        IF NOT old THEN
            l.as_of := begun;
        END IF;
        IF ahead > 0.1 THEN
            l.level := least(l.level, 0) + l.capacity;
        END IF;
    END IF;
    IF p_remaining IS NOT NULL AND NOT old THEN
        l.level := least(l.level, p_remaining - p_taken_meanwhile);
    END IF;
    IF p_quiet_s IS NOT NULL THEN
        l.quiet_until := greatest(
            l.quiet_until, at + least(p_quiet_s, 3600) * interval '1 second');
    END IF;
    UPDATE hub.limits SET
        capacity = l.capacity, per_second = l.per_second, window_s = l.window_s, level = l.level,
        as_of = l.as_of, quiet_until = l.quiet_until
    WHERE system = p_system AND name = p_name;
END $$;
