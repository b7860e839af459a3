package dns

import (
	"context"
	"net"
	"sync/atomic"
)

// Names is a resolver for the names of our own servers: /etc/hosts first, then the servers of Options.Servers, one after the
// other. Without servers it is that of the system.
func Names(servers []string) (*net.Resolver, error) {
	if len(servers) == 0 {
		return net.DefaultResolver, nil
	}

	list := make([]string, 0, len(servers))
	for _, s := range servers {
		address, err := serverAddress(s)
		if err != nil {
			return nil, err
		}
		list = append(list, address)
	}

	var turn atomic.Uint32
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		// the resolver dials again for each try, so the next server has its turn then
		to := list[int(turn.Add(1)-1)%len(list)]
		return new(net.Dialer).DialContext(ctx, network, to)
	}

	return &net.Resolver{PreferGo: true, Dial: dial}, nil
}
