// The comm row of a device library that was built without NCCL.
#include <doctest/doctest.h>

#include "comm/nccl.hpp"
#include "sherd/base/errors.hpp"

namespace {

using namespace sherd;

TEST_CASE("a library built without NCCL says so to whoever asks for it") {
  const comm::Interface& table = comm::nccl_interface();
  CHECK(table.why_no_nccl().rfind("NCCL: this program was built without NCCL", 0) == 0);
  CHECK_THROWS_WITH_AS((void)table.nccl({}), table.why_no_nccl().c_str(), CommError);
}

}  // namespace
