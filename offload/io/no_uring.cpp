#include "io/engines.hpp"

namespace sherd::io {

std::unique_ptr<Transfer> uring_transfer(OpenFile& /*file*/, SystemCalls& /*system*/,
                                         std::string& refusal) {
  refusal = "this program was built without liburing";
  return nullptr;
}

}  // namespace sherd::io
