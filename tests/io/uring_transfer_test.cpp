#include "io/engines.hpp"

namespace sherd::io {
namespace {

constexpr IoEngine tested = IoEngine::uring;

}  // namespace
}  // namespace sherd::io

#include "io/transfer_suite.hpp"
