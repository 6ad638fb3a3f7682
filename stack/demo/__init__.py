"""`starling demo reed98`: a real social graph lives on the mesh, and every home timeline is checked.

    graph      the friendships of socfb-Reed98, or its best connected part
    plan       who will post, like, retweet and take back what: drawn from a seed
    world      what was really done, with the ids and times that the mesh answered; kept as JSON
    loading    does it: accounts, follows, posts, reactions
    quiet      waits until no event is on its way
    oracle     from a world alone: what each home timeline must say
    reading    each home timeline over REST, to its end
    checking   the two against each other
    reed98     one after the other, with a summary

The world goes in through the operator's internal calls, because the edge lets one address register 60
accounts a minute and read 200 times a second, and this is one address: 962 registrations would take a
quarter of an hour. Each is the same RPC that the edge would call. What is checked is what the public API
says.
"""
