#include "support/device_under_test.hpp"

namespace sherd::test {

const std::string_view device_library = SHERD_DEVICE_LIBRARY;

}  // namespace sherd::test
