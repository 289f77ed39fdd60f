BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	username TEXT, 
	token_prefix TEXT, 
	remote TEXT, 
	request_id TEXT, 
	method TEXT, 
	path TEXT, 
	namespace TEXT, 
	action TEXT NOT NULL, 
	object TEXT, 
	outcome TEXT NOT NULL, 
	CONSTRAINT ck_audit_outcome_is_known CHECK (outcome IN ('done', 'unauthorized', 'forbidden', 'throttled'))
);
INSERT INTO "audit" VALUES(1,1796017100017872,'admin','tbl_dEMZ','127.0.0.1','95f439c8b9ef4527a80c870217d6a528','POST','/v1/tokens','team','token.create','token 2','done');
INSERT INTO "audit" VALUES(2,1796017100046812,'admin','tbl_dEMZ','127.0.0.1','35a26f1179b147caa36ee9861d8e512f','POST','/v1/users','team','user.create','user ada','done');
INSERT INTO "audit" VALUES(3,1796017100217858,'admin','tbl_dEMZ','127.0.0.1','213b4ec9aaee4b9286100a08ed5faea1','PUT','/v1/secrets/db','admin','secret.put','secret db','done');
INSERT INTO "audit" VALUES(4,1796017100245571,'admin','tbl_dEMZ','127.0.0.1','83845c2af7f14dbe95325363a77fcd04','PUT','/v1/registries/127.0.0.1:5999','admin','registry.put','registry 127.0.0.1:5999','done');
INSERT INTO "audit" VALUES(5,1796017100254605,'admin','tbl_dEMZ','127.0.0.1','a7c4d0e8a7784002abc77261a74e3564','POST','/v1/jobs','admin','job.create','job 1','done');
INSERT INTO "audit" VALUES(6,1796017100266129,'admin','tbl_dEMZ','127.0.0.1','4e599051abe84cebb3513d6827770b9f','POST','/v1/jobs','admin','job.create','job 2','done');
INSERT INTO "audit" VALUES(7,1796017100275972,'admin','tbl_dEMZ','127.0.0.1','09a97e5f6d9942b3ba19b255a4cecc60','POST','/v1/jobs','admin','job.create','job 3','done');
INSERT INTO "audit" VALUES(8,1796017100284972,'admin','tbl_dEMZ','127.0.0.1','a926111fc0cb44b68b8317ea69a14377','POST','/v1/jobs','admin','job.create','job 4','done');
INSERT INTO "audit" VALUES(9,1796017100288386,'admin','tbl_dEMZ','127.0.0.1','a99634e274d546549b865ecef492f822','POST','/v1/jobs','admin','job.create','job 5','done');
INSERT INTO "audit" VALUES(10,1796017100292686,'admin','tbl_dEMZ','127.0.0.1','c4989f62310d47f6899c3049cc2b86fb','POST','/v1/hooks','admin','hook.create','hook 1','done');
INSERT INTO "audit" VALUES(11,1796017100301422,'admin','tbl_dEMZ','127.0.0.1','f0133912762e4171a7271174463f5817','POST','/v1/jobs/1/execs','admin','exec.trigger','exec 48df2a06-f061-4513-9658-9a24d73c3aba of job 1','done');
INSERT INTO "audit" VALUES(12,1796017100310001,'admin','tbl_dEMZ','127.0.0.1','cab5b92a432047cbb7c49dde45ef04cf','POST','/v1/jobs/4/execs','admin','exec.trigger','exec f1b42b26-f5f1-4ffc-b383-b83765ce2626 of job 4','done');
INSERT INTO "audit" VALUES(13,1796017100320586,'admin','tbl_dEMZ','127.0.0.1','34bd1d66678c4ab898a111e410f91fd5','POST','/v1/jobs/5/execs','admin','exec.trigger','exec 54d0ee56-c3be-45e4-9e43-7883a524e542 of job 5','done');
INSERT INTO "audit" VALUES(14,1796017112341126,'admin','tbl_dEMZ','127.0.0.1','a75948d49bc045db86c7d4ac5e4213ed','POST','/v1/jobs/2/execs','admin','exec.trigger','exec 669271b3-8169-40c3-bd55-b89eee50ad06 of job 2','done');
INSERT INTO "audit" VALUES(15,1796017112351247,'admin','tbl_dEMZ','127.0.0.1','347cd8e82cd74c00b01b19be93c1604e','PUT','/v1/jobs/2','admin','job.update','job 2','done');
INSERT INTO "audit" VALUES(16,1796017112362595,'admin','tbl_dEMZ','127.0.0.1','5108c52054d84fb2a05bc16aff57ccb0','POST','/v1/jobs/1/execs/48df2a06-f061-4513-9658-9a24d73c3aba/replay','admin','exec.replay','exec 0518e57a-9e29-4b21-b45e-b7b34cadb315 of job 1','done');
INSERT INTO "audit" VALUES(17,1796017115370223,'admin','tbl_dEMZ','127.0.0.1','786c3720ff224ec39e5331accaad5aac','DELETE','/v1/jobs/5','admin','job.delete','job 5','done');
CREATE TABLE counters (
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_counters PRIMARY KEY (name)
);
INSERT INTO "counters" VALUES('execs',1003);
CREATE TABLE deliveries (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	hook_id INTEGER, 
	job_id INTEGER, 
	event TEXT NOT NULL, 
	event_at BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	status TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	first_tried_at BIGINT, 
	attempts JSON NOT NULL, 
	next_attempt_at BIGINT, 
	ended_at BIGINT, 
	reason TEXT, 
	claimed_by TEXT, 
	claimed_until BIGINT, 
	CONSTRAINT ck_deliveries_kind_is_known CHECK (kind IN ('hook', 'mail')), 
	CONSTRAINT ck_deliveries_status_is_known CHECK (status IN ('pending', 'delivered', 'failed')), 
	CONSTRAINT ck_deliveries_hook_has_hook CHECK ((kind = 'hook') = (hook_id IS NOT NULL)), 
	CONSTRAINT ck_deliveries_mail_has_job CHECK ((kind = 'mail') = (job_id IS NOT NULL)), 
	CONSTRAINT ck_deliveries_ended_is_not_pending CHECK ((status = 'pending') = (ended_at IS NULL)), 
	CONSTRAINT fk_deliveries_hook_id FOREIGN KEY(hook_id) REFERENCES hooks (id) ON DELETE CASCADE, 
	CONSTRAINT fk_deliveries_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE, 
	CONSTRAINT uq_deliveries_id UNIQUE (id)
);
INSERT INTO "deliveries" VALUES(1,'msg_fd2669ec6f7d4c86a591e767bf50f8ea','hook',1,NULL,'job:start',1796017100854677,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "48df2a06-f061-4513-9658-9a24d73c3aba", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": null, "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "R", "trigger_mode": "M", "created_by": "admin", "created_at": "2026-11-30T05:38:20.301422+00:00", "started_at": "2026-11-30T05:38:20.854677+00:00", "ended_at": null, "duration": null, "exit_code": null, "fail_reason": null, "error": null, "stop_reason": null, "scheduled_for": null, "attempt": 1, "retry_of": null, "replay_of": null, "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": null}','pending',4,1796017100903172,'[{"at": 1796017100903172, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017101920383, "duration": 0.01, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017103936746, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017107944753, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017115945750,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(2,'msg_8e2ef0a4347e47dfb4f75efb42984898','hook',1,NULL,'job:fail',1796017100880775,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "48df2a06-f061-4513-9658-9a24d73c3aba", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": null, "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "F", "trigger_mode": "M", "created_by": "admin", "created_at": "2026-11-30T05:38:20.301422+00:00", "started_at": "2026-11-30T05:38:20.854677+00:00", "ended_at": "2026-11-30T05:38:20.880775+00:00", "duration": {"hours": 0, "minutes": 0, "seconds": 0}, "exit_code": 3, "fail_reason": "exit_code", "error": "The command ended with exit code 3.", "stop_reason": null, "scheduled_for": null, "attempt": 1, "retry_of": null, "replay_of": null, "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": {"exec": "6951b12c-5b55-436e-9852-32096959eda2", "attempt": 2, "not_before": "2026-11-30T05:38:21.039641+00:00"}}','pending',4,1796017101050388,'[{"at": 1796017101050388, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017102055316, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017104063590, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017108073156, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017116074168,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(3,'msg_00446718e485484c8663e0debbaa0bd8','hook',1,NULL,'job:start',1796017101409322,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "6951b12c-5b55-436e-9852-32096959eda2", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": null, "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "R", "trigger_mode": "R", "created_by": "admin", "created_at": "2026-11-30T05:38:21.039641+00:00", "started_at": "2026-11-30T05:38:21.409322+00:00", "ended_at": null, "duration": null, "exit_code": null, "fail_reason": null, "error": null, "stop_reason": null, "scheduled_for": null, "attempt": 2, "retry_of": "48df2a06-f061-4513-9658-9a24d73c3aba", "replay_of": null, "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": null}','pending',4,1796017101603191,'[{"at": 1796017101603191, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017102609970, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017104620692, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017108629948, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017116630956,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(4,'msg_23a1fe441f944cb981b9299406f74554','hook',1,NULL,'job:fail',1796017101409322,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "6951b12c-5b55-436e-9852-32096959eda2", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": null, "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "F", "trigger_mode": "R", "created_by": "admin", "created_at": "2026-11-30T05:38:21.039641+00:00", "started_at": "2026-11-30T05:38:21.409322+00:00", "ended_at": "2026-11-30T05:38:21.409322+00:00", "duration": {"hours": 0, "minutes": 0, "seconds": 0}, "exit_code": 3, "fail_reason": "exit_code", "error": "The command ended with exit code 3.", "stop_reason": null, "scheduled_for": null, "attempt": 2, "retry_of": "48df2a06-f061-4513-9658-9a24d73c3aba", "replay_of": null, "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": null}','pending',4,1796017101623046,'[{"at": 1796017101623046, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017102629878, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017104643083, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017108651691, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017116652687,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(5,'msg_3d52e01e77e84968b0d0a991690862ff','hook',1,NULL,'job:start',1796017112785506,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "0518e57a-9e29-4b21-b45e-b7b34cadb315", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "R", "trigger_mode": "M", "created_by": "admin", "created_at": "2026-11-30T05:38:32.362595+00:00", "started_at": "2026-11-30T05:38:32.785506+00:00", "ended_at": null, "duration": null, "exit_code": null, "fail_reason": null, "error": null, "stop_reason": null, "scheduled_for": null, "attempt": 1, "retry_of": null, "replay_of": "48df2a06-f061-4513-9658-9a24d73c3aba", "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": null}','pending',2,1796017112943706,'[{"at": 1796017112943706, "duration": 0.003, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017113952576, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017115953512,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(6,'msg_42e715c70c504ccbaae954aaa473feaa','hook',1,NULL,'job:fail',1796017112785506,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "0518e57a-9e29-4b21-b45e-b7b34cadb315", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "F", "trigger_mode": "M", "created_by": "admin", "created_at": "2026-11-30T05:38:32.362595+00:00", "started_at": "2026-11-30T05:38:32.785506+00:00", "ended_at": "2026-11-30T05:38:32.785506+00:00", "duration": {"hours": 0, "minutes": 0, "seconds": 0}, "exit_code": 3, "fail_reason": "exit_code", "error": "The command ended with exit code 3.", "stop_reason": null, "scheduled_for": null, "attempt": 1, "retry_of": null, "replay_of": "48df2a06-f061-4513-9658-9a24d73c3aba", "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": {"exec": "80a51dc5-dd94-4eff-97ba-48ddc48d9d31", "attempt": 2, "not_before": "2026-11-30T05:38:32.937975+00:00"}}','pending',2,1796017112961480,'[{"at": 1796017112961480, "duration": 0.002, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017113971078, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017115971847,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(7,'msg_38523414779643d09182d9dd9041ba45','hook',1,NULL,'job:start',1796017113214280,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "80a51dc5-dd94-4eff-97ba-48ddc48d9d31", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "R", "trigger_mode": "R", "created_by": "admin", "created_at": "2026-11-30T05:38:32.937975+00:00", "started_at": "2026-11-30T05:38:33.214280+00:00", "ended_at": null, "duration": null, "exit_code": null, "fail_reason": null, "error": null, "stop_reason": null, "scheduled_for": null, "attempt": 2, "retry_of": "0518e57a-9e29-4b21-b45e-b7b34cadb315", "replay_of": "48df2a06-f061-4513-9658-9a24d73c3aba", "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": null}','pending',2,1796017113316116,'[{"at": 1796017113316116, "duration": 0.003, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017114324264, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017116325172,NULL,NULL,NULL,NULL);
INSERT INTO "deliveries" VALUES(8,'msg_ca5b01c170dc41388333d50c94b51dfb','hook',1,NULL,'job:fail',1796017113218784,'{"hook": {"id": 1, "subject_type": "job", "subject": 1}, "job": {"id": 1, "name": "夜间 report", "namespace": "admin"}, "data": {"id": "80a51dc5-dd94-4eff-97ba-48ddc48d9d31", "docker_image_repo": "timeball-test/busybox", "docker_image_tag": "1", "command": ["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"], "runtime_vars": {"A": "1", "DB": {"secret": "db"}}, "labels": {"team": "data", "tier": "1"}, "capabilities": [], "mounts": [], "user": null, "read_only_root": false, "network": null, "pin_digest": false, "docker_image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "secret_files": {}, "resource_size": "XXS", "region_name": "LOCAL", "priority": 0, "status": "F", "trigger_mode": "R", "created_by": "admin", "created_at": "2026-11-30T05:38:32.937975+00:00", "started_at": "2026-11-30T05:38:33.214280+00:00", "ended_at": "2026-11-30T05:38:33.218784+00:00", "duration": {"hours": 0, "minutes": 0, "seconds": 0}, "exit_code": 3, "fail_reason": "exit_code", "error": "The command ended with exit code 3.", "stop_reason": null, "scheduled_for": null, "attempt": 2, "retry_of": "0518e57a-9e29-4b21-b45e-b7b34cadb315", "replay_of": "48df2a06-f061-4513-9658-9a24d73c3aba", "image_digest": "sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0", "node": null, "waiting_for": null, "job": 1}, "sender": {"username": "admin"}, "retry": null}','pending',2,1796017113326660,'[{"at": 1796017113326660, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}, {"at": 1796017114349844, "duration": 0.001, "status_code": null, "error": "cannot connect to 127.0.0.1:18080: Connection refused"}]',1796017116350606,NULL,NULL,NULL,NULL);
CREATE TABLE discarded_logs (
	exec_id TEXT NOT NULL, 
	CONSTRAINT pk_discarded_logs PRIMARY KEY (exec_id)
);
CREATE TABLE duties (
	name TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	held_until BIGINT NOT NULL, 
	CONSTRAINT pk_duties PRIMARY KEY (name)
);
INSERT INTO "duties" VALUES('cleaning','bdf49334f6ea432b973aff50443474d1',1796017175404705);
CREATE TABLE exec_labels (
	exec_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_exec_labels PRIMARY KEY (exec_id, name), 
	CONSTRAINT fk_exec_labels_exec_id FOREIGN KEY(exec_id) REFERENCES execs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "exec_labels" VALUES('48df2a06-f061-4513-9658-9a24d73c3aba','team','data',1796017100301422);
INSERT INTO "exec_labels" VALUES('f1b42b26-f5f1-4ffc-b383-b83765ce2626','team','data',1796017100310001);
INSERT INTO "exec_labels" VALUES('6951b12c-5b55-436e-9852-32096959eda2','team','data',1796017101039641);
INSERT INTO "exec_labels" VALUES('0518e57a-9e29-4b21-b45e-b7b34cadb315','team','data',1796017112362595);
INSERT INTO "exec_labels" VALUES('80a51dc5-dd94-4eff-97ba-48ddc48d9d31','team','data',1796017112937975);
INSERT INTO "exec_labels" VALUES('48df2a06-f061-4513-9658-9a24d73c3aba','tier','1',1796017100301422);
INSERT INTO "exec_labels" VALUES('6951b12c-5b55-436e-9852-32096959eda2','tier','1',1796017101039641);
INSERT INTO "exec_labels" VALUES('0518e57a-9e29-4b21-b45e-b7b34cadb315','tier','1',1796017112362595);
INSERT INTO "exec_labels" VALUES('80a51dc5-dd94-4eff-97ba-48ddc48d9d31','tier','1',1796017112937975);
CREATE TABLE execs (
	id TEXT NOT NULL, 
	number BIGINT NOT NULL, 
	job_id INTEGER NOT NULL, 
	namespace TEXT NOT NULL, 
	docker_image_repo TEXT NOT NULL, 
	docker_image_tag TEXT NOT NULL, 
	command JSON, 
	runtime_vars JSON NOT NULL, 
	resource_size TEXT NOT NULL, 
	cpus FLOAT NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	region_name TEXT NOT NULL, 
	pull_policy TEXT NOT NULL, 
	concurrency_policy TEXT NOT NULL, 
	timeout_seconds INTEGER, 
	stop_grace_seconds INTEGER NOT NULL, 
	max_retries INTEGER NOT NULL, 
	retry_backoff_seconds INTEGER NOT NULL, 
	retry_on JSON NOT NULL, 
	priority INTEGER NOT NULL, 
	log_limit_bytes BIGINT, 
	labels JSON NOT NULL, 
	capabilities JSON NOT NULL, 
	mounts JSON NOT NULL, 
	secret_files JSON NOT NULL, 
	user TEXT, 
	read_only_root BOOLEAN NOT NULL, 
	network TEXT, 
	pin_digest BOOLEAN NOT NULL, 
	docker_image_digest TEXT, 
	status TEXT NOT NULL, 
	trigger_mode TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	scheduled_for BIGINT, 
	attempt INTEGER NOT NULL, 
	retry_of TEXT, 
	replay_of TEXT, 
	not_before BIGINT, 
	owner TEXT, 
	dispatched_at BIGINT, 
	stop_requested_at BIGINT, 
	stop_reason TEXT, 
	started_at BIGINT, 
	ended_at BIGINT, 
	exit_code INTEGER, 
	fail_reason TEXT, 
	error TEXT, 
	image_digest TEXT, 
	node TEXT, 
	log_bytes BIGINT, 
	log_until BIGINT, 
	log_reach INTEGER, 
	CONSTRAINT pk_execs PRIMARY KEY (id), 
	CONSTRAINT ck_execs_failed_has_reason CHECK ((status = 'F') = (fail_reason IS NOT NULL)), 
	CONSTRAINT ck_execs_ended_has_end CHECK ((status IN ('S', 'F', 'C')) = (ended_at IS NOT NULL)), 
	CONSTRAINT ck_execs_status_is_known CHECK (status IN ('W', 'R', 'S', 'F', 'C')), 
	CONSTRAINT ck_execs_running_has_started CHECK (status NOT IN ('R', 'S') OR started_at IS NOT NULL), 
	CONSTRAINT ck_execs_trigger_mode_is_known CHECK (trigger_mode IN ('M', 'S', 'R', 'D')), 
	CONSTRAINT fk_execs_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE, 
	CONSTRAINT uq_execs_number UNIQUE (number)
);
INSERT INTO "execs" VALUES('48df2a06-f061-4513-9658-9a24d73c3aba',1,1,'admin','timeball-test/busybox','1','["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"]','{"A": "1", "DB": {"secret": "db"}}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,1,0,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data", "tier": "1"}','[]','[]','{}',NULL,0,NULL,0,NULL,'F','M','admin',1796017100301422,NULL,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017100316423,NULL,NULL,1796017100854677,1796017100880775,3,'exit_code','The command ended with exit code 3.','sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017101040060,0);
INSERT INTO "execs" VALUES('f1b42b26-f5f1-4ffc-b383-b83765ce2626',2,4,'admin','timeball-test/busybox','1','["sh", "-c", "echo up; sleep 1000"]','{}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data"}','[]','[]','{}',NULL,0,NULL,0,NULL,'R','M','admin',1796017100310001,NULL,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017100340028,NULL,NULL,1796017101192747,NULL,NULL,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,NULL,NULL);
INSERT INTO "execs" VALUES('6951b12c-5b55-436e-9852-32096959eda2',4,1,'admin','timeball-test/busybox','1','["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"]','{"A": "1", "DB": {"secret": "db"}}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,1,0,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data", "tier": "1"}','[]','[]','{}',NULL,0,NULL,0,NULL,'F','R','admin',1796017101039641,NULL,2,'48df2a06-f061-4513-9658-9a24d73c3aba',NULL,1796017101039641,'bdf49334f6ea432b973aff50443474d1',1796017101050334,NULL,NULL,1796017101409322,1796017101409322,3,'exit_code','The command ended with exit code 3.','sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017101600973,0);
INSERT INTO "execs" VALUES('99991016-0931-408d-a338-5d7bdbf2878e',5,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','S','admin',1796017101447538,1796017101446000,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017101461173,NULL,NULL,1796017101880774,1796017101882796,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017102016206,0);
INSERT INTO "execs" VALUES('ded71dfa-61ed-43a0-9c29-b5799ef0015d',6,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','S','admin',1796017103447829,1796017103446000,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017103452999,NULL,NULL,1796017103792628,1796017103792628,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017103926872,0);
INSERT INTO "execs" VALUES('f8a8c80d-5361-48a6-9f62-f7a7e5a21388',7,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','S','admin',1796017105447943,1796017105446000,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017105457560,NULL,NULL,1796017105685250,1796017105685250,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017105774134,0);
INSERT INTO "execs" VALUES('1bcbe123-dfc6-44a1-b6cc-04ee99f9b0bb',8,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','S','admin',1796017107447564,1796017107446000,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017107454515,NULL,NULL,1796017107688571,1796017107696909,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017107802503,0);
INSERT INTO "execs" VALUES('6e93972e-f615-4445-b7f2-ec0ab2596bff',9,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','S','admin',1796017109447373,1796017109446000,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017109453084,NULL,NULL,1796017109707988,1796017109709200,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017109790351,0);
INSERT INTO "execs" VALUES('fff376d1-2db3-4a67-a63a-e5a67fa95411',10,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','S','admin',1796017111447438,1796017111446000,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017111452589,NULL,NULL,1796017111739179,1796017111742319,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017111823461,0);
INSERT INTO "execs" VALUES('669271b3-8169-40c3-bd55-b89eee50ad06',11,2,'admin','timeball-test/busybox','1','"true"','{}','XXS',0.15,67108864,'LOCAL','if_not_present','forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{}','[]','[]','{}',NULL,0,NULL,0,NULL,'S','M','admin',1796017112341126,NULL,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017112355073,NULL,NULL,1796017112756575,1796017112764917,0,NULL,NULL,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017112914660,0);
INSERT INTO "execs" VALUES('0518e57a-9e29-4b21-b45e-b7b34cadb315',12,1,'admin','timeball-test/busybox','1','["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"]','{"A": "1", "DB": {"secret": "db"}}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,1,0,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data", "tier": "1"}','[]','[]','{}',NULL,0,NULL,0,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0','F','M','admin',1796017112362595,NULL,1,NULL,'48df2a06-f061-4513-9658-9a24d73c3aba',NULL,'bdf49334f6ea432b973aff50443474d1',1796017112371915,NULL,NULL,1796017112785506,1796017112785506,3,'exit_code','The command ended with exit code 3.','sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017112938197,0);
INSERT INTO "execs" VALUES('80a51dc5-dd94-4eff-97ba-48ddc48d9d31',13,1,'admin','timeball-test/busybox','1','["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"]','{"A": "1", "DB": {"secret": "db"}}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,1,0,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data", "tier": "1"}','[]','[]','{}',NULL,0,NULL,0,'sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0','F','R','admin',1796017112937975,NULL,2,'0518e57a-9e29-4b21-b45e-b7b34cadb315','48df2a06-f061-4513-9658-9a24d73c3aba',1796017112937975,'bdf49334f6ea432b973aff50443474d1',1796017112952973,NULL,NULL,1796017113214280,1796017113218784,3,'exit_code','The command ended with exit code 3.','sha256:361d1c13941b0b613731dd6c9287688b807b553da598f0e01a88b6939769f6c0',NULL,NULL,1796017113310347,0);
INSERT INTO "execs" VALUES('00000000-0000-4000-8000-000000000001',1001,4,'admin','timeball-test/busybox','1','["sh", "-c", "echo up; sleep 1000"]','{}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data"}','[]','[]','{}',NULL,0,NULL,0,NULL,'W','M','admin',1796017100310001,NULL,1,NULL,NULL,NULL,'bdf49334f6ea432b973aff50443474d1',1796017100340028,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "execs" VALUES('00000000-0000-4000-8000-000000000002',1002,4,'admin','timeball-test/busybox','1','["sh", "-c", "echo up; sleep 1000"]','{}','XXS',0.15,67108864,'LOCAL','if_not_present','allow',NULL,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,'{"team": "data"}','[]','[]','{}',NULL,0,NULL,0,NULL,'W','M','admin',1796017100310001,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE facts (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_facts PRIMARY KEY (name)
);
INSERT INTO "facts" VALUES('installation','f25a8555a0fa4e27bb8a2115401970e5');
CREATE TABLE hooks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	url TEXT NOT NULL, 
	sealed_secret TEXT, 
	job_id INTEGER, 
	namespace TEXT, 
	events TEXT NOT NULL, 
	is_active BOOLEAN NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT ck_hooks_watches_one_thing CHECK ((job_id IS NULL) <> (namespace IS NULL)), 
	CONSTRAINT fk_hooks_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "hooks" VALUES(1,'h','http://127.0.0.1:18080/x','v1:4b0670cafaff:jm+BmoQeHHAhKxTViH80S0JVOKTt6n1+T/IWAoKfFPU5Hpus3RELwEaz',1,NULL,'job:fail job:succeed job:start',1,'admin',1796017100292686,1796017100292686);
CREATE TABLE image_grants (
	namespace TEXT NOT NULL, 
	image TEXT NOT NULL, 
	host TEXT NOT NULL, 
	image_id TEXT NOT NULL, 
	granted_at BIGINT NOT NULL, 
	CONSTRAINT pk_image_grants PRIMARY KEY (namespace, image)
);
INSERT INTO "image_grants" VALUES('admin','127.0.0.1:5999/app:1','127.0.0.1:5999','sha256:1111111111111111111111111111111111111111111111111111111111111111',1796017100301422);
CREATE TABLE instances (
	id TEXT NOT NULL, 
	started_at BIGINT NOT NULL, 
	lease_until BIGINT NOT NULL, 
	CONSTRAINT pk_instances PRIMARY KEY (id)
);
INSERT INTO "instances" VALUES('bdf49334f6ea432b973aff50443474d1',1796017096952587,1796017127075817);
CREATE TABLE job_labels (
	job_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_job_labels PRIMARY KEY (job_id, name), 
	CONSTRAINT fk_job_labels_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "job_labels" VALUES(1,'team','data');
INSERT INTO "job_labels" VALUES(4,'team','data');
INSERT INTO "job_labels" VALUES(1,'tier','1');
CREATE TABLE jobs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	namespace TEXT NOT NULL, 
	name TEXT NOT NULL, 
	docker_image_repo TEXT NOT NULL, 
	docker_image_tag TEXT NOT NULL, 
	command JSON, 
	resource_size TEXT NOT NULL, 
	region_name TEXT NOT NULL, 
	runtime_vars JSON NOT NULL, 
	labels JSON NOT NULL, 
	email_enabled BOOLEAN NOT NULL, 
	is_schedule_active BOOLEAN NOT NULL, 
	schedule_mode TEXT, 
	schedule_timezone TEXT, 
	misfire_policy TEXT NOT NULL, 
	misfire_grace_seconds INTEGER NOT NULL, 
	concurrency_policy TEXT NOT NULL, 
	timeout_seconds INTEGER, 
	stop_grace_seconds INTEGER NOT NULL, 
	max_retries INTEGER NOT NULL, 
	retry_backoff_seconds INTEGER NOT NULL, 
	retry_on JSON NOT NULL, 
	priority INTEGER NOT NULL, 
	max_running INTEGER, 
	log_limit_bytes BIGINT, 
	pull_policy TEXT NOT NULL, 
	retention_days INTEGER, 
	retention_count INTEGER, 
	retention_log_bytes BIGINT, 
	capabilities JSON NOT NULL, 
	mounts JSON NOT NULL, 
	secret_files JSON NOT NULL, 
	user TEXT, 
	read_only_root BOOLEAN NOT NULL, 
	network TEXT, 
	pin_digest BOOLEAN NOT NULL, 
	docker_image_digest TEXT, 
	revision INTEGER NOT NULL, 
	active_since BIGINT, 
	next_due_at BIGINT, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	CONSTRAINT ck_jobs_only_active_is_due CHECK (next_due_at IS NULL OR is_schedule_active)
);
INSERT INTO "jobs" VALUES(1,'admin','夜间 report','timeball-test/busybox','1','["sh", "-c", "for i in 1 2 3; do echo line $i; echo err $i >&2; done; exit 3"]','XXS','LOCAL','{"A": "1", "DB": {"secret": "db"}}','{"team": "data", "tier": "1"}',0,0,NULL,NULL,'latest',1,'allow',NULL,10,1,0,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,NULL,'if_not_present',NULL,NULL,NULL,'[]','[]','{}',NULL,0,NULL,0,NULL,0,NULL,NULL,'admin',1796017100254605,1796017100254605,NULL);
INSERT INTO "jobs" VALUES(2,'admin','every','timeball-test/busybox','1','"true"','XXS','LOCAL','{}','{}',0,0,'R/2015-12-31T16:00:23.446Z/PT2S',NULL,'latest',1,'forbid',60,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,NULL,'if_not_present',NULL,NULL,NULL,'[]','[]','{}',NULL,0,NULL,0,NULL,1,NULL,NULL,'admin',1796017100266129,1796017112351247,NULL);
INSERT INTO "jobs" VALUES(3,'admin','cron','timeball-test/busybox','1','"true"','XXS','LOCAL','{}','{}',0,1,'*/5 * * * *','Europe/Berlin','latest',1,'allow',NULL,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',5,NULL,NULL,'if_not_present',NULL,NULL,NULL,'[]','[]','{"/run/secrets/db": "db"}',NULL,0,NULL,0,NULL,0,1796017100275972,1796017200000000,'admin',1796017100275972,1796017100275972,NULL);
INSERT INTO "jobs" VALUES(4,'admin','long','timeball-test/busybox','1','["sh", "-c", "echo up; sleep 1000"]','XXS','LOCAL','{}','{"team": "data"}',0,0,NULL,NULL,'latest',1,'allow',NULL,10,0,10,'["exit_code", "timeout", "oom_killed", "image_pull_failed", "start_failed", "engine_lost"]',0,NULL,NULL,'if_not_present',NULL,NULL,NULL,'[]','[]','{}',NULL,0,NULL,0,NULL,0,NULL,NULL,'admin',1796017100284972,1796017100284972,NULL);
CREATE TABLE log_chunks (
	exec_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	stdout_end BIGINT NOT NULL, 
	stderr_end BIGINT NOT NULL, 
	streams INTEGER NOT NULL, 
	lines INTEGER NOT NULL, 
	stdout_open_from INTEGER, 
	stderr_open_from INTEGER, 
	raw_bytes INTEGER NOT NULL, 
	data BLOB NOT NULL, 
	CONSTRAINT pk_log_chunks PRIMARY KEY (exec_id, seq)
);
INSERT INTO "log_chunks" VALUES('48df2a06-f061-4513-9658-9a24d73c3aba',0,1796017100330112,1796017100330112,0,0,1,1,NULL,NULL,45,X'28B52FFD244A5102005442433101000000809446D1776106000000000000000000002D00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310AD1E6AED7');
INSERT INTO "log_chunks" VALUES('f1b42b26-f5f1-4ffc-b383-b83765ce2626',0,1796017100351363,1796017100351363,0,0,1,1,NULL,NULL,45,X'28B52FFD244A510200544243310100000083E746D1776106000000000000000000002D00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310ADB27563F');
INSERT INTO "log_chunks" VALUES('48df2a06-f061-4513-9658-9a24d73c3aba',1,1796017100389133,1796017101039781,21,18,7,8,NULL,NULL,171,X'28B52FFD24EFED050042CB282B604D9A03300C4C51144541F417CB7A742B03D1CA66B72E40F86349686BB93488687C570B1E8BA1CDEBF853A84297812C86A9885A49352DAB36393E136EB21F980DEB1C6EAC2D4DED4ACB202DF1B21C12630D4B92D546595B52E3E5BA7C6060E79158F4E3E0857498F2DC24353B0383BB21D05ACD1819ADD564F82828E1023E082B313BBAA6F85FF97FF01FE1BF81479F80517800C03FE0363E263A0AFE0BA844442409005E082441E5837653848171AB32DECF01034E1080094212A529');
INSERT INTO "log_chunks" VALUES('6951b12c-5b55-436e-9852-32096959eda2',0,1796017101056265,1796017101086032,0,0,1,2,NULL,NULL,60,X'28B52FFD2466E502000405544243310200000009A951D17761060047742D0000000F00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A72756E6E696E67210A030005D5802B03DBC0126D598A9E');
INSERT INTO "log_chunks" VALUES('f1b42b26-f5f1-4ffc-b383-b83765ce2626',1,1796017100393392,1796017101223729,3,0,3,2,NULL,NULL,18,X'28B52FFD243CCD010004035442433102000000B08B47D17761060000010081AB0C0F0000000300000053746172742072756E6E696E67210A75700A02002B62CC4018C67A5675');
INSERT INTO "log_chunks" VALUES('99991016-0931-408d-a338-5d7bdbf2878e',0,1796017101470808,1796017101501374,0,0,1,2,NULL,NULL,60,X'28B52FFD2466E502000405544243310200000058FC57D17761060066772D0000000F00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A72756E6E696E67210A030005D5802B03DBC0126409CF93');
INSERT INTO "log_chunks" VALUES('6951b12c-5b55-436e-9852-32096959eda2',1,1796017101408897,1796017101409109,21,18,6,6,NULL,NULL,39,X'28B52FFD245115020034035442433102000000810A57D177610600010200D415000000120000006C696E6520310A32330A6572722031320A65727220330A050029C2C05C2AB7AE643103610D61BFE9');
INSERT INTO "log_chunks" VALUES('ded71dfa-61ed-43a0-9c29-b5799ef0015d',0,1796017103456088,1796017103481295,0,0,1,2,NULL,NULL,60,X'28B52FFD2466E5020004055442433102000000584776D17761060077622D0000000F00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A72756E6E696E67210A030005D5802B03DBC01291277589');
INSERT INTO "log_chunks" VALUES('f8a8c80d-5361-48a6-9f62-f7a7e5a21388',0,1796017105463007,1796017105476525,0,0,1,2,NULL,NULL,60,X'28B52FFD2466E5020004055442433102000000DFE694D177610600CE342D0000000F00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A72756E6E696E67210A030005D5802B03DBC012FFDA52E7');
INSERT INTO "log_chunks" VALUES('1bcbe123-dfc6-44a1-b6cc-04ee99f9b0bb',0,1796017107458643,1796017107458643,0,0,1,1,NULL,NULL,45,X'28B52FFD244A350200D4035442433101000000535AB3D1776106002D746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A02003883508025AEED4F21');
INSERT INTO "log_chunks" VALUES('1bcbe123-dfc6-44a1-b6cc-04ee99f9b0bb',1,1796017107495718,1796017107495718,0,0,1,1,NULL,NULL,15,X'28B52FFD242C610100544243310100000026EBB3D1776106000000000000000000000F00000053746172742072756E6E696E67210A7D01880C');
INSERT INTO "log_chunks" VALUES('6e93972e-f615-4445-b7f2-ec0ab2596bff',0,1796017109457104,1796017109457104,0,0,1,1,NULL,NULL,45,X'28B52FFD244A5102005442433101000000D0D8D1D1776106000000000000000000002D00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A75E3BF79');
INSERT INTO "log_chunks" VALUES('6e93972e-f615-4445-b7f2-ec0ab2596bff',1,1796017109518019,1796017109518019,0,0,1,1,NULL,NULL,15,X'28B52FFD242C6101005442433101000000C3C6D2D1776106000000000000000000000F00000053746172742072756E6E696E67210AB5DBEE66');
INSERT INTO "log_chunks" VALUES('fff376d1-2db3-4a67-a63a-e5a67fa95411',0,1796017111456765,1796017111456765,0,0,1,1,NULL,NULL,45,X'28B52FFD244A5102005442433101000000FD5BF0D1776106000000000000000000002D00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A06CC2ED4');
INSERT INTO "log_chunks" VALUES('fff376d1-2db3-4a67-a63a-e5a67fa95411',1,1796017111529142,1796017111529142,0,0,1,1,NULL,NULL,15,X'28B52FFD242C6101005442433101000000B676F1D1776106000000000000000000000F00000053746172742072756E6E696E67210AE931D914');
INSERT INTO "log_chunks" VALUES('669271b3-8169-40c3-bd55-b89eee50ad06',0,1796017112367062,1796017112395928,0,0,1,2,NULL,NULL,60,X'28B52FFD2466E5020004055442433102000000D63FFED177610600C2702D0000000F00000053746172742070756C6C696E6720696D6167653A2074696D6562616C6C2D746573742F62757379626F783A310A72756E6E696E67210A030005D5802B03DBC01227437B77');
INSERT INTO "log_chunks" VALUES('0518e57a-9e29-4b21-b45e-b7b34cadb315',0,1796017112382080,1796017112382080,0,0,1,1,NULL,NULL,115,X'28B52FFD24903D040072C81F26A0451DFF3F58555515D8ADD66D41B4D90A76DB5BCACD12AF598DB74C32D2CA1D5660EFD9BAA503E5F0E3B8B9E5F8BB7D15544F3BE66F31F64DF577736BC639FCDEAEB6965FFD1ADC5A67DFF26A9831CE900789E32772FAC294701262F48752349706422E450BD488629C1ECB84F854A8AA54814700022815550D6C02B10801000AB004C18A8D2D');
INSERT INTO "log_chunks" VALUES('0518e57a-9e29-4b21-b45e-b7b34cadb315',1,1796017112428727,1796017112938085,21,18,7,8,NULL,NULL,171,X'28B52FFD24EF350600528B2A2F804BD2013330231CF38419E0CCC196EE0B9F1B7BFF1329C91CBF05A41B586D2311227B6FC51FA942290DF84304F9296982B548D322CC92ACA676D5025B4C5B46504F74465115B6B1C38D7B981BA7DE84C15110D44E398759310F2FF356A31A50D9D38684E6E8A99890A311949B021FA4AB3303A3E774488DAD768494D4D8AA949D0E2C228CB12275CA3723FE57FE1BFC2FF84FB0507C74085C481C60F907DE0648C8F2F81FB0100F920A005E082441E507E3AA0C83634C696445389B2956DAF002266166211C');
INSERT INTO "log_chunks" VALUES('80a51dc5-dd94-4eff-97ba-48ddc48d9d31',0,1796017112968078,1796017112985808,0,0,1,2,NULL,NULL,130,X'28B52FFD24ACD504006249232890B56DFFFFFFF37739088B560B8842A289758B6C891155ABC407ADDC5CDB9D2C03A3C17258D992020902AAB3D6494A94E3CFF3F6D6F3770EB692EA718FC1B818FBA6DC3BE7CD2DCFF1187BB5D5FEEA7BF1563B1DDB17E36C8111CB2008F8023BBDE25A791394C297D1BC0A2321184D05AA93D24940B912BC0F663E30B375345C800307060003662674A381040300BB1D465C19D80696E3969DF8');
INSERT INTO "log_chunks" VALUES('80a51dc5-dd94-4eff-97ba-48ddc48d9d31',1,1796017113224041,1796017113224041,21,18,6,6,NULL,NULL,39,X'28B52FFD2451FD01002403544243310200000069530BD27761060001020015000000120000006C696E6520310A32330A6572722031320A65727220330A040029C2C05C2A57DD013B4DF2C2B8');
CREATE TABLE occurrences (
	job_id INTEGER NOT NULL, 
	due_at BIGINT NOT NULL, 
	outcome TEXT NOT NULL, 
	exec_id TEXT, 
	reason TEXT, 
	decided_at BIGINT NOT NULL, 
	CONSTRAINT pk_occurrences PRIMARY KEY (job_id, due_at), 
	CONSTRAINT ck_occurrences_ran_has_exec CHECK ((outcome = 'ran') = (exec_id IS NOT NULL)), 
	CONSTRAINT ck_occurrences_others_have_reason CHECK ((outcome = 'ran') = (reason IS NULL)), 
	CONSTRAINT ck_occurrences_outcome_is_known CHECK (outcome IN ('ran', 'skipped', 'missed', 'expired')), 
	CONSTRAINT fk_occurrences_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "occurrences" VALUES(2,1796017101446000,'ran','99991016-0931-408d-a338-5d7bdbf2878e',NULL,1796017101447538);
INSERT INTO "occurrences" VALUES(2,1796017103446000,'ran','ded71dfa-61ed-43a0-9c29-b5799ef0015d',NULL,1796017103447829);
INSERT INTO "occurrences" VALUES(2,1796017105446000,'ran','f8a8c80d-5361-48a6-9f62-f7a7e5a21388',NULL,1796017105447943);
INSERT INTO "occurrences" VALUES(2,1796017107446000,'ran','1bcbe123-dfc6-44a1-b6cc-04ee99f9b0bb',NULL,1796017107447564);
INSERT INTO "occurrences" VALUES(2,1796017109446000,'ran','6e93972e-f615-4445-b7f2-ec0ab2596bff',NULL,1796017109447373);
INSERT INTO "occurrences" VALUES(2,1796017111446000,'ran','fff376d1-2db3-4a67-a63a-e5a67fa95411',NULL,1796017111447438);
CREATE TABLE registries (
	namespace TEXT NOT NULL, 
	host TEXT NOT NULL, 
	username TEXT NOT NULL, 
	password TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_by TEXT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_registries PRIMARY KEY (namespace, host)
);
INSERT INTO "registries" VALUES('admin','127.0.0.1:5999','u','v1:4b0670cafaff:WFDrAECud697c53LnHOPNTbtuClUTjzM2oD0OEZIKFdXQrTqHrzH','admin',1796017100245984,'admin',1796017100245984);
CREATE TABLE secret_uses (
	namespace TEXT NOT NULL, 
	name TEXT NOT NULL, 
	job_id INTEGER NOT NULL, 
	CONSTRAINT pk_secret_uses PRIMARY KEY (namespace, name, job_id), 
	CONSTRAINT fk_secret_uses_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "secret_uses" VALUES('admin','db',1);
INSERT INTO "secret_uses" VALUES('admin','db',3);
CREATE TABLE secrets (
	namespace TEXT NOT NULL, 
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_by TEXT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_secrets PRIMARY KEY (namespace, name)
);
INSERT INTO "secrets" VALUES('admin','db','v1:4b0670cafaff:76q+D6nl3XFv1T5Z/2uWoyiy/8lN3PyiDSI1x5T+1QnwJOs2O0nQv92YW9E=','admin',1796017100234649,'admin',1796017100234649);
CREATE TABLE tokens (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	sha256 TEXT NOT NULL, 
	prefix TEXT NOT NULL, 
	name TEXT NOT NULL, 
	username TEXT NOT NULL, 
	account TEXT, 
	namespace TEXT, 
	role TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, 
	CONSTRAINT ck_tokens_role_is_known CHECK (role IN ('viewer', 'operator', 'editor', 'admin')), 
	CONSTRAINT ck_tokens_kind_is_known CHECK (kind IN ('file', 'made', 'login')), 
	CONSTRAINT fk_tokens_account FOREIGN KEY(account) REFERENCES users (username) ON DELETE CASCADE, 
	CONSTRAINT uq_tokens_sha256 UNIQUE (sha256)
);
INSERT INTO "tokens" VALUES(1,'7ab8d97b9240020e751dd643c5568b166a7eaaf42d3c294d010cffff66ac4093','tbl_dEMZ','admin.token','admin',NULL,NULL,'admin','file','admin',1796017096964703,NULL,1796017100013372);
INSERT INTO "tokens" VALUES(2,'aa6cfb7abaf92892266ce604dc34163651c09a7f51ed7904789b781751e0fa28','tbl_zBBa','ci','admin',NULL,'team','viewer','made','admin',1796017100017872,NULL,NULL);
CREATE TABLE users (
	username TEXT NOT NULL, 
	password TEXT NOT NULL, 
	namespace TEXT, 
	role TEXT NOT NULL, 
	email TEXT, 
	is_active BOOLEAN NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_users PRIMARY KEY (username), 
	CONSTRAINT ck_users_role_is_known CHECK (role IN ('viewer', 'operator', 'editor', 'admin'))
);
INSERT INTO "users" VALUES('ada','$argon2id$v=19$m=32768,t=3,p=1$55a20KjO8+e3568EHDTpug$I5JFN8FEsepKN10aajC5UQneyCOVtS7pvl+BSa914Og','team','editor','ada@example.com',1,'admin',1796017100046812,1796017100046812);
CREATE INDEX ix_registries_host ON registries (host);
CREATE INDEX ix_image_grants_namespace_granted_at ON image_grants (namespace, granted_at);
CREATE INDEX ix_jobs_name ON jobs (name, id);
CREATE INDEX ix_jobs_namespace_id ON jobs (namespace, id);
CREATE UNIQUE INDEX uq_jobs_namespace_name ON jobs (namespace, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_jobs_deleted ON jobs (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX ix_jobs_next_due_at ON jobs (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX ix_tokens_account ON tokens (account);
CREATE INDEX ix_audit_at_id ON audit (at, id);
CREATE INDEX ix_audit_namespace_at_id ON audit (namespace, at, id);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit WHEN old.at > (CAST(strftime('%s', 'now') AS INTEGER) - 86400) * 1000000 BEGIN SELECT RAISE(ABORT, 'recent entries of the audit are never deleted'); END;
CREATE INDEX ix_execs_created_at_id ON execs (created_at, id);
CREATE INDEX ix_execs_job_id_created_at ON execs (job_id, created_at DESC, id DESC, log_bytes);
CREATE INDEX ix_execs_job_id_status_created_at_id ON execs (job_id, status, created_at, id);
CREATE INDEX ix_execs_namespace_created_at_id ON execs (namespace, created_at, id);
CREATE INDEX ix_execs_namespace_started_at_id ON execs (namespace, started_at, id) WHERE started_at IS NOT NULL;
CREATE INDEX ix_execs_namespace_status_created_at_id ON execs (namespace, status, created_at, id);
CREATE INDEX ix_execs_unmeasured ON execs (ended_at) WHERE ended_at IS NOT NULL AND log_bytes IS NULL;
CREATE INDEX ix_execs_job_id_log_reach ON execs (job_id, log_reach, log_until, id) WHERE log_reach IS NOT NULL;
CREATE INDEX ix_execs_namespace_log_reach ON execs (namespace, log_reach, log_until, id) WHERE log_reach IS NOT NULL;
CREATE INDEX ix_execs_open ON execs (created_at, id) WHERE ended_at IS NULL;
CREATE INDEX ix_execs_open_of_job ON execs (job_id, created_at) WHERE ended_at IS NULL;
CREATE INDEX ix_execs_started_at_id ON execs (started_at, id) WHERE started_at IS NOT NULL;
CREATE INDEX ix_execs_status_created_at_id ON execs (status, created_at, id);
CREATE INDEX ix_execs_trigger_mode_created_at_id ON execs (trigger_mode, created_at, id);
CREATE INDEX ix_job_labels_name_value_job_id ON job_labels (name, value, job_id);
CREATE INDEX ix_secret_uses_job_id ON secret_uses (job_id);
CREATE INDEX ix_execs_waiting ON execs (region_name, job_id, priority DESC, created_at, id) WHERE ended_at IS NULL AND dispatched_at IS NULL;
CREATE INDEX ix_execs_back_off ON execs (region_name, not_before) WHERE ended_at IS NULL AND dispatched_at IS NULL AND not_before IS NOT NULL;
CREATE INDEX ix_execs_dispatched ON execs (owner) WHERE ended_at IS NULL AND dispatched_at IS NOT NULL;
CREATE INDEX ix_exec_labels_name_value_created_at_exec_id ON exec_labels (name, value, created_at, exec_id);
CREATE INDEX ix_log_chunks_exec_id_last_at_seq ON log_chunks (exec_id, last_at, seq);
CREATE INDEX ix_hooks_job_id ON hooks (job_id);
CREATE INDEX ix_hooks_namespace ON hooks (namespace);
CREATE INDEX ix_deliveries_ended_at ON deliveries (ended_at);
CREATE INDEX ix_deliveries_hook_id_number ON deliveries (hook_id, number);
CREATE INDEX ix_deliveries_job_id_number ON deliveries (job_id, number);
CREATE INDEX ix_deliveries_pending ON deliveries (hook_id, number) WHERE ended_at IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tokens',2);
INSERT INTO "sqlite_sequence" VALUES('audit',17);
INSERT INTO "sqlite_sequence" VALUES('jobs',5);
INSERT INTO "sqlite_sequence" VALUES('hooks',1);
INSERT INTO "sqlite_sequence" VALUES('deliveries',8);
INSERT INTO "discarded_logs" VALUES('00000000-0000-4000-8000-000000000009');
COMMIT;
