#include "sherd/cli/event_log.hpp"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/cli/config_json.hpp"

namespace sherd::cli {
namespace {

using Json = nlohmann::ordered_json;  // keys in the order they are documented

Json memory_json(const MemoryTable& table) {
  Json all = Json::object();
  for (const TierColumn& tier : tier_columns)
    for (const BytesColumn& column : bytes_columns)
      all[std::string(tier.name)][std::string(column.name)] = table.*tier.member.*column.member;
  return all;
}

std::string line_of(const Json& event) {
  return event.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string_view version() { return SHERD_VERSION; }

std::string to_json(const MemoryTable& table) { return line_of(memory_json(table)); }

std::string followed(const std::string& path) {
  std::error_code ignored;
  std::filesystem::path file = path;
  for (int links = 0; links < 40 && std::filesystem::is_symlink(file, ignored); ++links)
    file = file.parent_path() / std::filesystem::read_symlink(file, ignored);
  return file.string();
}

std::string write_problem(std::string_view flag, const std::string& path) {
  if (path.empty()) return {};
  std::error_code error;
  const std::filesystem::path file(followed(path));
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::string problem = std::string(flag) + ": cannot write '" + path + "': ";
  if (std::filesystem::is_directory(file, error)) return problem + "it is a folder";
  if (std::filesystem::exists(file, error))
    return access(path.c_str(), W_OK) == 0 ? "" : problem + "no permission";
  if (!std::filesystem::is_directory(folder, error))
    return problem + "there is no folder '" + folder.string() + "'";
  return access(folder.c_str(), W_OK) == 0 ? "" : problem + "no permission";
}

EventLog::EventLog(std::string path, Start start) : path_(std::move(path)) {
  if (path_.empty()) return;
  file_.open(path_, std::ios::binary | (start == Start::append ? std::ios::app : std::ios::trunc));
  if (file_) return;
  const std::string problem = write_problem("--log", path_);
  throw ConfigError({problem.empty() ? "--log: cannot write '" + path_ + "'" : problem});
}

void EventLog::write_line(const std::string& line) {
  if (path_.empty()) return;
  file_ << line << '\n' << std::flush;
  if (!file_) throw Error("--log: cannot write to '" + path_ + "': is the disk full?");
}

void EventLog::write(const StartEvent& event) {
  Json line = {{"event", "start"},
               {"version", version()},
               {"config", Json::parse(to_json(event.config))},
               {"numerics_key", event.numerics_key},
               {"parameters", event.parameters},
               {"world", event.world},
               {"pids", event.pids},
               {"plan", memory_json(event.plan)}};
  if (!event.io_engine.empty()) line["io_engine"] = event.io_engine;
  if (!event.resumed_from.empty())
    line["resumed"] = {{"step", event.resumed_step}, {"path", event.resumed_from}};
  write_line(line_of(line));
}

void EventLog::write(const StepEvent& event) {
  write_line(line_of({{"event", "step"},
                      {"step", event.step},
                      {"loss", event.loss},
                      {"grad_norm", event.grad_norm},
                      {"lr", event.lr},
                      {"loss_scale", event.loss_scale},
                      {"skipped", event.skipped},
                      {"tokens", event.tokens},
                      {"seconds", event.seconds},
                      {"tokens_per_second", event.tokens_per_second}}));
}

void EventLog::write(const EvalEvent& event) {
  write_line(line_of({{"event", "eval"}, {"step", event.step}, {"loss", event.loss}}));
}

void EventLog::write(const CheckpointEvent& event) {
  write_line(line_of({{"event", "checkpoint"},
                      {"step", event.step},
                      {"path", event.path},
                      {"bytes", event.bytes},
                      {"stall_seconds", event.stall_seconds},
                      {"commit_seconds", event.commit_seconds}}));
}

void EventLog::write(const EndEvent& event) {
  const WireBytes& wire = event.wire_bytes;
  Json line = {{"event", "end"},
               {"steps", event.steps},
               {"loss", event.loss},
               {"parameters_hash", event.parameters_hash},
               {"wire_bytes",
                {{"all_gather", wire.all_gather},
                 {"reduce_scatter", wire.reduce_scatter},
                 {"all_reduce", wire.all_reduce}}},
               {"peak", memory_json(event.peak)},
               {"rss_peak", event.rss_peak},
               {"seconds", event.seconds}};
  if (event.device_growth) line["device_growth"] = *event.device_growth;
  write_line(line_of(line));
}

}  // namespace sherd::cli
