# `make help`: the Makefile's groups, targets and variables, in its order.
/^##@ / { printf "%s%s\n", groups++ ? "\n" : "", substr($0, 5) }
/^#: / { print "  " substr($0, 4) }
/^[a-z][a-z-]*:.*## / && groups { name = $0; sub(/:.*/, "", name); sub(/^.*## /, ""); printf "  %-22s %s\n", name, $0 }
