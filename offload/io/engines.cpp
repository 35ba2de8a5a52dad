#include "io/engines.hpp"

#include "sherd/base/errors.hpp"

namespace sherd::io {

std::unique_ptr<Transfer> transfer_by(IoEngine engine, OpenFile file, SystemCalls& system) {
  std::string note;
  if (engine != IoEngine::threads) {
    std::string refusal;
    if (auto transfer = uring_transfer(file, system, refusal)) return transfer;
    if (engine == IoEngine::uring) {
      throw ConfigError({"--io-engine: io_uring is refused (" + refusal +
                         "); choose threads, or auto to take what there is"});
    }
    note = " (io_uring: " + refusal + ")";
  }
  return thread_transfer(std::move(file), system, note);
}

std::unique_ptr<RecordFile> make_record_file(const FileTierConfig& config, Rank rank, Bytes size,
                                             SystemCalls& system) {
  OpenFile file(config.offload_dir, rank, size, system);
  std::string path = file.path();
  return std::make_unique<RecordFile>(transfer_by(config.io_engine, std::move(file), system),
                                      std::move(path));
}

std::unique_ptr<RecordFile> make_record_file(const FileTierConfig& config, Rank rank, Bytes size) {
  return make_record_file(config, rank, size, system_calls());
}

}  // namespace sherd::io
