"""Budget alerts: kept once each, and sent by signed webhooks until somebody took them.

    tables         destinations, alerts, deliveries
    facts          which facts of the outbox can be alerts
    register       facts of the outbox -> alerts and the deliveries that are due; lists them
    destinations   who is told: made by the admin API, or by the settings file
    webhook        the message and its signature
    courier        sends what is due, again and again, and gives up in the end
    alerting       all of it, opened and closed as one

Connections are opened by `fastpath.identity.token.fetch` alone, which holds the rules against SSRF.
"""
