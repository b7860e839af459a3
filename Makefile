# make test is the one test command. It needs Go and, for the tests with real servers, root on Debian: what is missing
# is installed with apt, and nothing is started on default ports.
GO ?= go
FUZZTIME ?= 20s
export CGO_ENABLED = 0

.PHONY: build test honest tools demo bench lint fuzz clean

build:
	$(GO) build -trimpath -o postern ./cmd/postern

test: lint build tools honest
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 40m ./...

# honest mail in the shapes of many kinds of senders, through the SMTP door and as fetched: prints what becomes of each kind
honest:
	$(GO) test -count=1 -run '^TestHonest$$' -v ./cmd/postern/app

# the race detector needs a C compiler; the program itself does not
tools:
	@deploy/lab/install.sh redis-server redis-server
	@deploy/lab/install.sh pg_lsclusters postgresql
	@command -v gcc >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev; }

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...

demo:
	$(GO) run ./cmd/postern demo

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# every fuzz target for FUZZTIME
fuzz:
	@for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "== $$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
	  done; \
	done

clean:
	rm -f postern
