#pragma once
// The ways to move bytes; which one serves is chosen once, at start.
#include <memory>
#include <string>

#include "io/open_file.hpp"
#include "sherd/io/record_file.hpp"

namespace sherd::io {

/// Parts under way at once through io_uring.
inline constexpr unsigned uring_depth = 8;

/// Takes `file` and returns an engine, or leaves it and says in `refusal` why there is none.
[[nodiscard]] std::unique_ptr<Transfer> uring_transfer(OpenFile& file, SystemCalls& system,
                                                       std::string& refusal);

/// pread and pwrite by two threads, the caller's one of them. `note`: ends the name.
[[nodiscard]] std::unique_ptr<Transfer> thread_transfer(OpenFile file, SystemCalls& system,
                                                        const std::string& note);

/// **Errors** ConfigError when io_uring is asked for and refused.
[[nodiscard]] std::unique_ptr<Transfer> transfer_by(IoEngine engine, OpenFile file,
                                                    SystemCalls& system);

/// What make_record_file() does, on a system of the caller's.
[[nodiscard]] std::unique_ptr<RecordFile> make_record_file(const FileTierConfig& config, Rank rank,
                                                           Bytes size, SystemCalls& system);

}  // namespace sherd::io
