#pragma once
// A libnccl between threads of one process that moves real data and fails as it is told. Scripts
// hold until `reset`. `rank` is the caller's own in its group, -1 for any; `nth` counts from 1.
#include <cstddef>
#include <cstdint>

namespace sherd::fake_nccl {

inline constexpr int any = -1;

extern "C" {
void fake_nccl_reset();
/// The nth call of the function `name` returns `result`.
void fake_nccl_fail(int rank, const char* name, int nth, int result);
/// The nth call of `name` is never completed, by any rank.
void fake_nccl_hang(const char* name, int nth);
/// After its nth collective the communicator reports `result`.
void fake_nccl_async_error(int rank, int nth, int result);
void fake_nccl_version(int code);
/// Until further notice, work on streams that are not null waits.
void fake_nccl_hold_streams(bool hold);

/// Communicators neither destroyed nor cut, and memory registered with any.
int fake_nccl_communicators();
int fake_nccl_registrations();
/// Communicators cut since the reset.
int fake_nccl_cuts();
/// Collectives put on `stream`, and of them those that are complete.
std::uint64_t fake_nccl_issued(const void* stream);
std::uint64_t fake_nccl_completed(const void* stream);
}

}  // namespace sherd::fake_nccl
