#pragma once
// Which file systems are no place for what memory cannot hold.
#include <string>

#include "io/system_calls.hpp"

namespace sherd::io {

/// Empty, or what is wrong with where `folder` lies and how to take it all the same.
[[nodiscard]] std::string unfit_file_system(const std::string& folder, SystemCalls& system);

}  // namespace sherd::io
