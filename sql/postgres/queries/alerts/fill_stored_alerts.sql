-- grain: one row per staged alert that is stored already and knows what the stored one does not
-- What the stored alert says stays; only what it left open is filled, and filled_json says by which import.
-- A row of a later time (an edit, a later export) tells the chain, the message and nothing else: its figures were not
-- known at the alert.
-- Locked by key against deadlocks.
with said as (
    select distinct on (staged.content_key)
        staged.content_key,
        tokens.id as token_id,
        tokens.chain,
        tokens.address,
        staged.alert_timestamp,
        staged.confidence,
        staged.alert_price,
        staged.alert_market_cap,
        staged.message_id,
        staged.chat_id,
        staged.attributes_json
    from staged_alerts as staged
    inner join tokens on staged.chain = tokens.chain and staged.address = tokens.address
    order by staged.content_key, staged.alert_price, staged.alert_market_cap, staged.chain
),

timely as (
    select
        alerts.id,
        said.token_id,
        said.chain,
        said.address,
        said.message_id,
        said.chat_id,
        known.confidence,
        known.alert_price,
        known.alert_market_cap,
        coalesce(known.attributes_json, '{}') || alerts.attributes_json as attributes_json
    from said
    inner join alerts on said.content_key = alerts.content_key
    left join said as known
        on
            said.content_key = known.content_key
            and date_trunc('second', known.alert_timestamp) <= date_trunc('second', alerts.alert_timestamp)
    order by alerts.content_key
    for update of alerts
),

compared as (
    select
        alerts.id,
        timely.token_id,
        timely.confidence,
        timely.alert_price,
        timely.alert_market_cap,
        timely.message_id,
        timely.chat_id,
        timely.attributes_json,
        tokens.chain = 'unknown-evm' and timely.chain <> 'unknown-evm' and tokens.address = timely.address
            as fills_token,
        alerts.confidence is null and timely.confidence is not null as fills_confidence,
        alerts.alert_price is null and timely.alert_price is not null as fills_price,
        alerts.alert_market_cap is null and timely.alert_market_cap is not null as fills_market_cap,
        alerts.message_id is null and timely.message_id is not null as fills_message,
        alerts.chat_id is null and timely.chat_id is not null as fills_chat,
        not alerts.attributes_json @> timely.attributes_json as fills_attributes
    from timely
    inner join alerts on timely.id = alerts.id
    inner join tokens on alerts.token_id = tokens.id
)

update alerts
set
    token_id = case when compared.fills_token then compared.token_id else alerts.token_id end,
    confidence = coalesce(alerts.confidence, compared.confidence),
    alert_price = coalesce(alerts.alert_price, compared.alert_price),
    alert_market_cap = coalesce(alerts.alert_market_cap, compared.alert_market_cap),
    message_id = coalesce(alerts.message_id, compared.message_id),
    chat_id = coalesce(alerts.chat_id, compared.chat_id),
    attributes_json = compared.attributes_json,
    filled_json = alerts.filled_json
    || case when compared.fills_token then jsonb_build_object('token_id', %(import_id)s::bigint) else '{}' end
    || case when compared.fills_confidence then jsonb_build_object('confidence', %(import_id)s::bigint) else '{}' end
    || case when compared.fills_price then jsonb_build_object('alert_price', %(import_id)s::bigint) else '{}' end
    || case
        when compared.fills_market_cap then jsonb_build_object('alert_market_cap', %(import_id)s::bigint) else '{}'
    end
    || case when compared.fills_message then jsonb_build_object('message_id', %(import_id)s::bigint) else '{}' end
    || case when compared.fills_chat then jsonb_build_object('chat_id', %(import_id)s::bigint) else '{}' end
    || case
        when compared.fills_attributes then jsonb_build_object('attributes_json', %(import_id)s::bigint) else '{}'
    end
from compared
where
    alerts.id = compared.id
    and (
        compared.fills_token
        or compared.fills_confidence
        or compared.fills_price
        or compared.fills_market_cap
        or compared.fills_message
        or compared.fills_chat
        or compared.fills_attributes
    )
