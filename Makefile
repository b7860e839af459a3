# make test is the one test command. It needs Go and, for the tests with real servers, root on Debian: what is missing
# is installed with apt, and nothing is started on default ports.
GO ?= go
FUZZTIME ?= 20s
export CGO_ENABLED = 0
# one way to build everywhere, also where tests build the program: what is compiled once is not compiled again
export GOFLAGS := $(shell $(GO) env GOFLAGS) -trimpath

# Tests run with the race detector, but those of the packages in norace.txt, which start no goroutine or look at the built
# program from outside. All that is linked is watched: one package compiled without it would hide the locks of sync.Map from it, and make races of what is none.
norace = internal/layers/norace.txt
plain = $(shell awk '/^[a-z]/ { print "./" $$1 }' $(norace))
outside = $(shell awk '/^[a-z]/ && $$2 == "outside" { print "./" $$1 }' $(norace))
raced = $(filter-out $(plain:./%=$(module)/%),$(shell $(GO) list ./...))
module = $(shell $(GO) list -m)
# of plain packages, those with tests that share values between goroutines, and these tests
shared = $(shell awk '/^[a-z]/ && NF > 1 { print "./" $$1 }' $(norace))
sharing = ^($(shell awk '/^[a-z]/ { for (i = 2; i <= NF; i++) if ($$i != "outside") printf "%s%s", n++ ? "|" : "", $$i }' $(norace)))$$
# tests of whole gateways wait for clocks, timeouts and other programs most of their time: more of them than there are cores
# run beside each other
waiting = 4
RACE = CGO_ENABLED=1 $(GO) test -race -vet=off -shuffle=on -timeout 40m

.PHONY: build test honest tools demo bench bench-learn lint fuzz clean

build:
	$(GO) build -o postern ./cmd/postern

test: lint build tools honest
	$(GO) test -vet=off -shuffle=on -timeout 40m $(filter-out $(outside),$(plain))
	$(GO) test -vet=off -shuffle=on -timeout 40m -parallel $(waiting) $(outside)
	$(RACE) -run '$(sharing)' $(shared)
	$(RACE) -parallel $(waiting) -skip '^(TestHonest|TestModernMail)$$' $(raced)

# honest mail in the shapes of many kinds of senders, through the SMTP door and as fetched, and mail of today with phishing
# among it: prints what becomes of each kind
honest:
	$(GO) test -vet=off -count=1 -run '^(TestHonest|TestModernMail)$$' -v ./cmd/postern/app

# the race detector needs a C compiler; the program itself does not
tools:
	@deploy/lab/install.sh redis-server redis-server
	@deploy/lab/install.sh pg_lsclusters postgresql
	@deploy/lab/install.sh spamassassin spamassassin
	@command -v gcc >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev; }

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	@out=$$($(GO) tool deadcode -test ./...); if [ -n "$$out" ]; then echo "$$out"; exit 1; fi

demo:
	$(GO) run ./cmd/postern demo

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# how good the classifier is on labelled mail in the folders ham and spam of MAIL, also with few lessons, with wrong ones, and on
# spam with honest words in it: SEED decides all that is drawn
SEED ?= 20260101
bench-learn:
	@test -d "$(MAIL)/ham" -a -d "$(MAIL)/spam" || { echo "make bench-learn MAIL=FOLDER: with the folders ham and spam in it"; exit 2; }
	$(GO) run ./cmd/postern learn evaluate --stress --seed $(SEED) --ham $(MAIL)/ham --spam $(MAIL)/spam

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
